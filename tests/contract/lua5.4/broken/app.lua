local function handler(event)
  return event.
end
