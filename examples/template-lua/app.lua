-- Fills in a template: {"template": "Hello {{name}}", "values": {"name": "you"}}. The language is that of Mustache
-- without partials: {{name}} is escaped for HTML, {{{name}}} is not; {{#list}}...{{/list}} is repeated for each element,
-- or there if the value is true; {{^list}}...{{/list}} is there if the value is empty or false; {{! a comment }}.

local cjson = require("cjson")
local lpeg = require("lpeg")
local re = require("re")

-- A template as a list of parts: strings, and tables with a tag. What closes a section is its opening name.
local grammar = re.compile([[
  template <- {| part* |} !.
  part     <- comment / raw / section / inverted / name / text
  text     <- {(!'{{' .)+}
  comment  <- '{{!' (!'}}' .)* '}}'
  raw      <- {| '{{{' s {:raw: path :} s '}}}' |}
  name     <- {| '{{' s {:name: path :} s '}}' |}
  section  <- {| '{{#' s {:section: path :} s '}}' {:parts: {| part* |} :} '{{/' s =section s '}}' |}
  inverted <- {| '{{^' s {:section: path :} s '}}' {:parts: {| part* |} :} '{{/' s =section s '}}' {:inverted: '' :} |}
  path     <- {[a-zA-Z0-9_.]+}
  s        <- ' '*
]])

local html = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

-- The value that `path` (a.b.c) has in the innermost of `scopes` which knows its first name.
local function look_up(scopes, path)
  if path == "." then
    return scopes[#scopes]
  end
  local first, rest = path:match("^([^.]*)%.?(.*)$")
  for index = #scopes, 1, -1 do
    local value = type(scopes[index]) == "table" and scopes[index][first]
    if value ~= nil and value ~= false then
      for name in rest:gmatch("[^.]+") do
        value = type(value) == "table" and value[name] or nil
      end
      return value
    end
  end
  return nil
end

local function is_there(value)
  return value ~= nil and value ~= false and value ~= cjson.null and value ~= ""
    and not (type(value) == "table" and next(value) == nil)
end

local render

local function render_section(part, scopes, out)
  local value = look_up(scopes, part.section)
  if part.inverted then
    if not is_there(value) then
      render(part.parts, scopes, out)
    end
    return
  elseif not is_there(value) then
    return
  end
  local elements = type(value) == "table" and #value > 0 and value or { value }
  for _, element in ipairs(elements) do
    scopes[#scopes + 1] = element
    render(part.parts, scopes, out)
    scopes[#scopes] = nil
  end
end

function render(parts, scopes, out)
  for _, part in ipairs(parts) do
    if type(part) == "string" then
      out[#out + 1] = part
    elseif part.section then
      render_section(part, scopes, out)
    else
      local value = look_up(scopes, part.raw or part.name)
      local text = is_there(value) and tostring(value) or ""
      out[#out + 1] = part.raw and text or text:gsub("[&<>\"']", html)
    end
  end
end

local function handler(event)
  if type(event.template) ~= "string" then
    error({ type = "TemplateError", message = "template must be a string" })
  end
  local parts = grammar:match(event.template)
  if not parts then
    error({ type = "TemplateError", message = "the template's braces or sections do not match" })
  end
  local out = {}
  render(parts, { event.values or {} }, out)
  return { text = table.concat(out), lpeg = lpeg.version() }
end

return { handler = handler }
