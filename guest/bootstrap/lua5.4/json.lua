-- JSON for the Lua bootstrap: what an event says comes back as it was. lua-cjson, which functions may use too, makes
-- every number a float with 14 digits and every empty array an object.
--
-- null is `cjson.null`; arrays have the metatable `array_mt`, by which an empty one is told from an empty object.
-- Strings must be UTF-8. Errors are raised as strings without a position.

local cjson = require("cjson")
local lpeg = require("lpeg")

local byte, char, find = string.byte, string.char, string.find
local format, gsub, sub = string.format, string.gsub, string.sub
local concat = table.concat
local error, getmetatable, next, rawget, setmetatable = error, getmetatable, next, rawget, setmetatable
local tonumber, tostring, type = tonumber, tostring, type
local tointeger, numbertype, huge = math.tointeger, math.type, math.huge
local utf8_char, utf8_len = utf8.char, utf8.len
local match = lpeg.match

-- The stack of Lua allows far more; what is nested deeper than this is a mistake or a cycle.
local MAX_DEPTH = 1000
-- As lua-cjson: an array may have holes if it is short or at least half full.
local SHORT_ARRAY = 10

local null = cjson.null
local array_mt = {}

-- Where the part of a string that stands for itself ends. LPeg's spans run at the speed of C, Lua's own patterns do
-- not, which matters for strings of megabytes.
local plain = (lpeg.P(1) - lpeg.S('"\\') - lpeg.R("\0\31")) ^ 0 * lpeg.Cp()
local space = lpeg.S(" \t\r\n") ^ 0 * lpeg.Cp()
local number = lpeg.C(
  lpeg.P("-") ^ -1
    * (lpeg.P("0") + lpeg.R("19") * lpeg.R("09") ^ 0)
    * (lpeg.P(".") * lpeg.R("09") ^ 1) ^ -1
    * (lpeg.S("eE") * lpeg.S("+-") ^ -1 * lpeg.R("09") ^ 1) ^ -1
) * lpeg.Cp()

local escapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function refuse(what, position)
  error(format("%s at byte %d", what, position), 0)
end

local function is_hex4(digits)
  return find(digits, "^%x%x%x%x$")
end

-- The character that \u at `position` (of the backslash) means, and the position after it.
local function unescape_unicode(text, position)
  local digits = sub(text, position + 2, position + 5)
  if not is_hex4(digits) then
    refuse("invalid \\u escape", position)
  end
  local code = tonumber(digits, 16)
  if code >= 0xD800 and code <= 0xDBFF and sub(text, position + 6, position + 7) == "\\u" then
    local low = sub(text, position + 8, position + 11)
    local low_code = is_hex4(low) and tonumber(low, 16) or 0
    if low_code >= 0xDC00 and low_code <= 0xDFFF then
      return utf8_char(0x10000 + (code - 0xD800) * 0x400 + (low_code - 0xDC00)), position + 12
    end
  end
  if code >= 0xD800 and code <= 0xDFFF then
    code = 0xFFFD -- half a character: it has no UTF-8
  end
  return utf8_char(code), position + 6
end

-- The string whose first byte after the quote is at `start`, and the position after its closing quote.
local function decode_string(text, start)
  local stop = match(plain, text, start)
  if byte(text, stop) == 34 then
    return sub(text, start, stop - 1), stop + 1
  end
  local pieces, count = {}, 0
  while true do
    count = count + 1
    pieces[count] = sub(text, start, stop - 1)
    local code = byte(text, stop)
    if code == 34 then
      return concat(pieces), stop + 1
    elseif code ~= 92 then
      refuse(code and "control character in a string" or "string without an end", stop)
    end
    local letter = sub(text, stop + 1, stop + 1)
    local piece = escapes[letter]
    if piece then
      start = stop + 2
    elseif letter == "u" then
      piece, start = unescape_unicode(text, stop)
    else
      refuse("invalid escape", stop)
    end
    count = count + 1
    pieces[count] = piece
    stop = match(plain, text, start)
  end
end

local decode_value

-- The byte at or after `position` that is no white space, and its position.
local function skip_space(text, position)
  local code = byte(text, position)
  if code and code <= 32 then
    position = match(space, text, position)
    code = byte(text, position)
  end
  return code, position
end

local function decode_object(text, position, depth)
  local object = {}
  local code
  code, position = skip_space(text, position)
  if code == 125 then
    return object, position + 1
  end
  while true do
    if code ~= 34 then
      refuse("expected a string", position)
    end
    local key
    key, position = decode_string(text, position + 1)
    code, position = skip_space(text, position)
    if code ~= 58 then
      refuse("expected ':'", position)
    end
    object[key], position = decode_value(text, position + 1, depth)
    code, position = skip_space(text, position)
    if code == 125 then
      return object, position + 1
    elseif code ~= 44 then
      refuse("expected ',' or '}'", position)
    end
    code, position = skip_space(text, position + 1)
  end
end

local function decode_array(text, position, depth)
  local array, count = setmetatable({}, array_mt), 0
  local code
  code, position = skip_space(text, position)
  if code == 93 then
    return array, position + 1
  end
  while true do
    count = count + 1
    array[count], position = decode_value(text, position, depth)
    code, position = skip_space(text, position)
    if code == 93 then
      return array, position + 1
    elseif code ~= 44 then
      refuse("expected ',' or ']'", position)
    end
    position = position + 1
  end
end

function decode_value(text, position, depth)
  local code
  code, position = skip_space(text, position)
  if code == 34 then
    return decode_string(text, position + 1)
  elseif code == 123 or code == 91 then
    if depth >= MAX_DEPTH then
      refuse("nested too deeply", position)
    end
    return (code == 123 and decode_object or decode_array)(text, position + 1, depth + 1)
  elseif code == 116 and sub(text, position, position + 3) == "true" then
    return true, position + 4
  elseif code == 102 and sub(text, position, position + 4) == "false" then
    return false, position + 5
  elseif code == 110 and sub(text, position, position + 3) == "null" then
    return null, position + 4
  end
  local digits, stop = match(number, text, position)
  if not digits then
    refuse(code and "expected a value" or "unexpected end", position)
  end
  return tonumber(digits), stop
end

local function decode(text)
  local length, invalid = utf8_len(text)
  if not length then
    refuse("invalid UTF-8", invalid)
  end
  local value, position = decode_value(text, 1, 0)
  local code
  code, position = skip_space(text, position)
  if code then
    refuse("text after the value", position)
  end
  return value
end

local escaped = {}
for letter, meaning in next, escapes do
  escaped[meaning] = "\\" .. letter
end
escaped["/"] = nil
for code = 0, 31 do
  escaped[char(code)] = escaped[char(code)] or format("\\u%04x", code)
end

local function encode_string(text)
  if match(plain, text) <= #text then
    text = gsub(text, '[%c"\\]', escaped)
  end
  return '"' .. text .. '"'
end

local function encode_number(value)
  if numbertype(value) == "integer" then
    return format("%d", value)
  end
  if value ~= value or value == huge or value == -huge then
    error("JSON has no number " .. tostring(value), 0)
  end
  local whole = value > -1e15 and value < 1e15 and tointeger(value)
  if whole then
    return format("%d", whole)
  end
  for precision = 15, 16 do
    local text = format("%." .. precision .. "g", value)
    if tonumber(text) == value then
      return text
    end
  end
  return format("%.17g", value)
end

-- The number of elements if `value` is an array, with holes filled; nil if it is an object.
local function array_length(value)
  local count, last = 0, 0
  for key in next, value do
    if numbertype(key) ~= "integer" or key < 1 then
      return nil
    end
    count = count + 1
    if key > last then
      last = key
    end
  end
  if count == 0 then
    return getmetatable(value) == array_mt and 0 or nil
  end
  if last > SHORT_ARRAY and last > 2 * count then
    error("an array with too many holes", 0)
  end
  return last
end

local encode_value

local function encode_table(value, out, count, depth)
  if depth >= MAX_DEPTH then
    error("a table that is nested too deeply, or in itself", 0)
  end
  local length = array_length(value)
  if length then
    out[count + 1] = "["
    count = count + 1
    for index = 1, length do
      if index > 1 then
        count = count + 1
        out[count] = ","
      end
      count = encode_value(rawget(value, index), out, count, depth + 1)
    end
    out[count + 1] = "]"
    return count + 1
  end
  local separator = "{"
  for key, element in next, value do
    local kind = type(key)
    if kind == "number" then
      key = encode_number(key)
    elseif kind ~= "string" then
      error("a key of type " .. kind, 0)
    end
    out[count + 1] = separator
    out[count + 2] = encode_string(key)
    out[count + 3] = ":"
    count = encode_value(element, out, count + 3, depth + 1)
    separator = ","
  end
  out[count + 1] = separator == "{" and "{}" or "}"
  return count + 1
end

-- Appends to `out`, which has `count` pieces; how many it has then.
function encode_value(value, out, count, depth)
  local kind = type(value)
  if kind == "table" then
    return encode_table(value, out, count, depth)
  elseif kind == "string" then
    out[count + 1] = encode_string(value)
  elseif kind == "number" then
    out[count + 1] = encode_number(value)
  elseif kind == "boolean" then
    out[count + 1] = value and "true" or "false"
  elseif value == nil or value == null then
    out[count + 1] = "null"
  else
    error("a value of type " .. kind, 0)
  end
  return count + 1
end

local function encode(value)
  local out = {}
  encode_value(value, out, 0, 0)
  local text = concat(out)
  if not utf8_len(text) then
    error("a string that is not UTF-8", 0)
  end
  return text
end

-- Marks a table as an array, or makes an empty one.
local function array(value)
  return setmetatable(value or {}, array_mt)
end

return { decode = decode, encode = encode, null = null, array = array, array_mt = array_mt }
