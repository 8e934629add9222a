import { marked } from 'marked';

// Headings with their level and text, for a table of contents.
const headings = (text) =>
  marked.lexer(text).filter((token) => token.type === 'heading').map(({ depth, text }) => ({ depth, text }));

export const handler = async ({ markdown }) => ({
  html: marked.parse(markdown),
  headings: headings(markdown),
});
