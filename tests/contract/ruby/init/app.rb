# Fails while it is loaded.
RATIO = 1 / 0

def handler(event:, context:)
  RATIO
end
