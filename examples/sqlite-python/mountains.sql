CREATE TABLE mountains (name TEXT PRIMARY KEY, country TEXT NOT NULL, metres INTEGER NOT NULL);
CREATE INDEX mountains_by_height ON mountains (metres);
INSERT INTO mountains VALUES
  ('Dufourspitze', 'Switzerland', 4634),
  ('Dom', 'Switzerland', 4545),
  ('Matterhorn', 'Switzerland', 4478),
  ('Mont Blanc', 'France', 4806),
  ('Barre des Écrins', 'France', 4102),
  ('Großglockner', 'Austria', 3798),
  ('Wildspitze', 'Austria', 3768),
  ('Zugspitze', 'Germany', 2962);
