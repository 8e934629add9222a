-- The Lua bootstrap: docs/guest_contract.md, "Agent and bootstrap" and "Request channel".
--
-- Started once, before the snapshot; everything up to the line "ready" is in the snapshot. What comes after it runs in
-- every restored VM while a caller waits, so it touches little memory and reads as few files as it can.
--
-- A function shares this state of Lua and may change its libraries: what is used here is held in locals.

local RUNTIME_FOLDER = "/usr/lib/snapfaas"
local json = dofile(RUNTIME_FOLDER .. "/json.lua")
local uv = require("luv")
-- For the functions' sake: what many of them require is in the snapshot already.
require("cjson")
require("cjson.safe")
require("lfs")
require("lpeg")
require("re")

local collectgarbage, error, getmetatable, loadfile = collectgarbage, error, getmetatable, loadfile
local getinfo = debug.getinfo
local next, pcall, rawget, select, setmetatable = next, pcall, rawget, select, setmetatable
local tonumber, tostring, type, xpcall = tonumber, tostring, type, xpcall
local concat, unpack = table.concat, table.unpack
local find, format, gsub = string.find, string.format, string.gsub
local match, rep, sub = string.match, string.rep, string.sub
local floor, max, min, randomseed = math.floor, math.max, math.min, math.randomseed
local exit, date, getenv, mktime = os.exit, os.date, os.getenv, os.time
local searchpath, loaded = package.searchpath, package.loaded
local utf8_len = utf8.len
local chdir, fs_read, fs_write, fs_stat = uv.chdir, uv.fs_read, uv.fs_write, uv.fs_stat
local gettimeofday, random_bytes, setenv, sleep = uv.gettimeofday, uv.random, uv.os_setenv, uv.sleep
local decode, encode = json.decode, json.encode
local stdout, stderr = io.stdout, io.stderr
local globals = _G

local CHANNEL_FD = 3
local CONTROL_IN_FD = 4
local CONTROL_OUT_FD = 5

local TASK_ROOT = "/srv"
-- The same folder by the name that AWS Lambda gives it, and what is in that of a deployed function alone: how to run
-- it.
local LAMBDA_TASK_ROOT = "/var/task"
local CONFIGURATION = ".snapfaas/function.json"
-- src/wire/frame.h: kMaxFrameBytes; AWS Lambda's limit for a response.
local MAX_FRAME_BYTES = 6291556 + 64 * 1024
local MAX_RESPONSE_BYTES = 6291556
-- An error report must fit a frame whatever a function puts into it.
local MAX_MESSAGE_BYTES = 256 * 1024
local MAX_STACK_LINES = 100
local MAX_STACK_LINE_BYTES = 4 * 1024
-- What is read and written at once: a virtio port takes and gives less.
local PIECE_BYTES = 64 * 1024

-- The type of an error that is a mere string, as most are in Lua.
local PLAIN_ERROR = "Error"
local MODULES = { "app", "workload" }
local HANDLERS = { "handler", "handle" }
-- Where a function's own modules lie, before and behind those of the image. Behind: what is brought along, as it is, as
-- `luarocks --tree lua_modules` puts it, and as a Debian package unpacked there has it.
local OWN_MODULES = "%s/?.lua;%s/?/init.lua"
local BROUGHT_MODULES = "%s/package/?.lua;%s/package/?/init.lua;"
  .. "%s/lua_modules/share/lua/5.4/?.lua;%s/lua_modules/share/lua/5.4/?/init.lua;"
  .. "%s/package/usr/share/lua/5.4/?.lua;%s/package/usr/share/lua/5.4/?/init.lua"
local BROUGHT_LIBRARIES = "%s/package/?.so;%s/lua_modules/lib/lua/5.4/?.so;"
  .. "%s/package/usr/lib/x86_64-linux-gnu/lua/5.4/?.so"

-- ---- the channel and the control pipes ------------------------------------------------------------------------------

local function die(text)
  stderr:write("snapfaas-bootstrap: ", text, "\n")
  exit(1)
end

local received = "" -- of the channel, not yet taken

local function read_piece()
  -- A virtio port reads as ended while no host is connected to it; the host may come back.
  local pause = 1
  while true do
    local piece, problem = fs_read(CHANNEL_FD, PIECE_BYTES, -1)
    if not piece then
      die("cannot read from the host: " .. problem)
    elseif #piece > 0 then
      return piece
    end
    sleep(pause)
    pause = min(2 * pause, 50)
  end
end

-- The next frame's kind and payload.
local function read_frame()
  local stop = find(received, "\n", 1, true)
  while not stop do
    if #received > 64 then
      die("the host sent a frame header without an end")
    end
    received = received .. read_piece()
    stop = find(received, "\n", 1, true)
  end
  local kind, digits = match(sub(received, 1, stop - 1), "^(%g+) (%d+)$")
  local size = digits and #digits <= 9 and tonumber(digits)
  if not size or size > MAX_FRAME_BYTES then
    die("the host sent a malformed frame header")
  end
  local pieces = { sub(received, stop + 1) }
  local have = #pieces[1]
  while have < size do
    local piece = read_piece()
    pieces[#pieces + 1] = piece
    have = have + #piece
  end
  local data = concat(pieces)
  received = sub(data, size + 1)
  return kind, sub(data, 1, size)
end

local function write_all(fd, data)
  local position = 1
  while position <= #data do
    local written, problem = fs_write(fd, sub(data, position, position + PIECE_BYTES - 1), -1)
    if not written then
      die("cannot write: " .. problem)
    end
    position = position + written
  end
end

local function write_frame(kind, payload)
  write_all(CHANNEL_FD, kind .. " " .. #payload .. "\n" .. payload)
end

-- The agent says nothing more before it has its answer.
local function read_line()
  local line = ""
  while sub(line, -1) ~= "\n" do
    local piece = fs_read(CONTROL_IN_FD, 256, -1)
    if not piece or piece == "" then
      die("the agent is gone")
    end
    line = line .. piece
  end
  return sub(line, 1, -2)
end

-- ---- error reports --------------------------------------------------------------------------------------------------

-- `text` cut to `most` bytes, with what is no UTF-8 replaced.
local function presentable(text, most)
  if #text > most then
    text = gsub(sub(text, 1, most), "[\xC2-\xF4][\x80-\xBF]*$", "")
  end
  if utf8_len(text) then
    return text
  end
  local pieces, start = {}, 1
  while true do
    local length, invalid = utf8_len(text, start)
    if length then
      pieces[#pieces + 1] = sub(text, start)
      return concat(pieces)
    end
    pieces[#pieces + 1] = sub(text, start, invalid - 1)
    pieces[#pieces + 1] = "\u{FFFD}"
    start = invalid + 1
  end
end

local function make_report(error_type, message, stack, request_id)
  local lines = json.array()
  for index = 1, stack and #stack or 0 do
    lines[index] = presentable(stack[index], MAX_STACK_LINE_BYTES)
  end
  return {
    errorMessage = presentable(message, MAX_MESSAGE_BYTES),
    errorType = presentable(error_type, MAX_STACK_LINE_BYTES),
    requestId = request_id or "",
    stackTrace = lines,
  }
end

-- What is raised here when the function cannot be loaded: `report` is the error to answer with.
local LoadError = {}

local function fail_to_load(report)
  error(setmetatable({ report = report }, LoadError))
end

local function is_own(info)
  return find(info.source, "@" .. RUNTIME_FOLDER, 1, true) == 1
end

local function describe_frame(info)
  local place = info.short_src .. ":"
  if info.currentline > 0 then
    place = place .. info.currentline .. ":"
  end
  if info.what == "main" then
    return place .. " in main chunk"
  elseif info.name then
    local kind = info.namewhat == "global" and "function" or info.namewhat
    return format("%s in %s '%s'", place, kind == "" and "function" or kind, info.name)
  end
  if info.what == "C" then
    return place .. " in ?"
  end
  return format("%s in function <%s:%d>", place, info.short_src, info.linedefined)
end

-- The stack of the function alone, innermost first, and where each frame is as Lua puts it before a message. For
-- on_error, whose caller is the first frame. To look at a frame takes Lua the longer the deeper it lies, so there is an
-- end.
local function own_stack()
  local lines, places = {}, {}
  local last
  for level = 3, 3 + MAX_STACK_LINES do
    local info = getinfo(level, "Slnf")
    if not info or is_own(info) then
      if last == xpcall then
        lines[#lines] = nil -- ours, which has called the function
      end
      return lines, places
    end
    last = info.func
    -- That error() was called to raise the error says nothing.
    if #lines > 0 or last ~= error then
      lines[#lines + 1] = describe_frame(info)
      places[#lines] = info.short_src .. ":" .. info.currentline .. ": "
    end
  end
  lines[#lines + 1] = "..."
  return lines, places
end

-- Without the place that Lua has put before it, if it is one of the stack's.
local function strip_place(message, places)
  for _, place in next, places do
    if sub(message, 1, #place) == place then
      return sub(message, #place + 1)
    end
  end
  return message
end

local function text_of(value)
  local done, text = pcall(tostring, value)
  return done and text or "<unprintable>"
end

-- The type and message of an error that is a table: what it says of itself under usual names.
local function describe_table(value)
  local function member(...)
    for index = 1, select("#", ...) do
      local done, text = pcall(function(key) return value[key] end, (select(index, ...)))
      if done and type(text) == "string" then
        return text
      end
    end
    return nil
  end
  local metatable = getmetatable(value)
  local class = type(metatable) == "table" and rawget(metatable, "__name")
  local error_type = member("errorType", "type", "name") or (type(class) == "string" and class) or PLAIN_ERROR
  local message = member("errorMessage", "message", "msg")
  if not message and type(metatable) == "table" and rawget(metatable, "__tostring") then
    message = text_of(value)
  elseif not message then
    local done, text = pcall(encode, value)
    message = done and text or text_of(value)
  end
  return error_type, message
end

-- What went wrong in a function: made where it did, as only there the stack is known.
local Failure = {}

local function make_failure(value, stack, places)
  local failure = { value = value, type = PLAIN_ERROR, stack = stack }
  if type(value) == "table" then
    failure.type, failure.message = describe_table(value)
  else
    failure.message = text_of(value)
  end
  if places then
    failure.message = strip_place(failure.message, places)
  end
  return setmetatable(failure, Failure)
end

-- The message handler of xpcall.
local function on_error(value)
  if getmetatable(value) == LoadError then
    return value
  end
  return make_failure(value, own_stack())
end

-- True and the function's first result, or false and a Failure.
local function call(run, ...)
  local done, result = xpcall(run, on_error, ...)
  if not done and getmetatable(result) ~= Failure and getmetatable(result) ~= LoadError then
    -- Memory is short, or the stack has overflowed in the handler too: then Lua hands out a string of its own.
    result = make_failure(result, {})
  end
  return done, result
end

local function report_failure(failure, request_id)
  return make_report(failure.type, failure.message, failure.stack, request_id)
end

local function log_report(report)
  local text = format("[ERROR] %s: %s\n", report.errorType, report.errorMessage)
  if #report.stackTrace > 0 then
    text = text .. "stack traceback:\n\t" .. concat(report.stackTrace, "\n\t") .. "\n"
  end
  pcall(stdout.write, stdout, text) -- the function may have closed it
end

-- ---- what a handler gets --------------------------------------------------------------------------------------------

local function make_log_stream_name(version, unique)
  return format("%s/[%s]%s", date("!%Y/%m/%d"), version, unique)
end

local function hexadecimal(bytes)
  return (gsub(bytes, ".", function(letter) return format("%02x", letter:byte()) end))
end

-- A random UUID.
local function make_uuid()
  local digits = hexadecimal(random_bytes(16))
  local variant = sub("89ab", tonumber(sub(digits, 17, 17), 16) % 4 + 1, -1)
  return format("%s-%s-4%s-%s%s-%s", sub(digits, 1, 8), sub(digits, 9, 12), sub(digits, 14, 16), sub(variant, 1, 1),
    sub(digits, 18, 20), sub(digits, 21))
end

-- `value` of the context unless it is absent, then an environment variable's, then a constant.
local function known(value, variable, otherwise)
  if value == nil or value == json.null or value == "" then
    value = variable and getenv(variable) or otherwise
  end
  return type(value) == "string" and value or text_of(value)
end

-- What a Lambda handler gets as its second argument, under the names that it has in Python. Of a deployed function the
-- environment says what the host does not.
local function make_context(values)
  local name = known(values.functionName, "AWS_LAMBDA_FUNCTION_NAME", "function")
  local version = known(values.functionVersion, "AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
  local request_id = values.requestId
  if type(request_id) ~= "string" or request_id == "" then
    request_id = make_uuid()
  end
  local deadline = type(values.deadlineMs) == "number" and values.deadlineMs or nil
  return {
    aws_request_id = request_id,
    function_name = name,
    function_version = version,
    invoked_function_arn = known(values.invokedFunctionArn, nil, ""),
    memory_limit_in_mb = known(values.memoryLimitInMB, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", ""),
    log_group_name = getenv("AWS_LAMBDA_LOG_GROUP_NAME") or "/aws/lambda/" .. name,
    log_stream_name = getenv("AWS_LAMBDA_LOG_STREAM_NAME")
      or make_log_stream_name(version, (gsub(request_id, "-", ""))),
    client_context = type(values.clientContext) == "table" and values.clientContext or nil,
    get_remaining_time_in_millis = function()
      if not deadline then
        return 0
      end
      local seconds, microseconds = gettimeofday()
      return max(0, floor(deadline - seconds * 1000 - microseconds / 1000))
    end,
  }
end

-- ---- loading --------------------------------------------------------------------------------------------------------

-- The report of what failed while the module `name` was loading.
local function load_report(name, failure)
  local report = report_failure(failure)
  if type(failure.value) ~= "string" then
    return report
  end
  local missing = match(report.errorMessage, "^module '[^']*' not found")
  local broken = match(report.errorMessage, "^error loading module '[^']*' from file '[^']*%.lua':%s*(.*)$")
  if missing then
    report.errorType = "Runtime.ImportModuleError"
    report.errorMessage = format("Unable to import module '%s': %s", name, missing)
  elseif broken then
    report.errorType = "Runtime.UserCodeSyntaxError"
    report.errorMessage = format("Syntax error in module '%s': %s", name, broken)
  elseif find(report.errorMessage, "^error loading module '") then
    report.errorType = "Runtime.ImportModuleError"
    report.errorMessage = format("Unable to import module '%s': %s", name, report.errorMessage)
  end
  return report
end

-- What the module in `file` gives. Raises LoadError.
local function load_module(name, file)
  local chunk, problem = loadfile(file)
  if not chunk then
    fail_to_load(make_report("Runtime.UserCodeSyntaxError", format("Syntax error in module '%s': %s", name, problem)))
  end
  local done, value = call(chunk, name, file)
  if not done then
    fail_to_load(load_report(name, value))
  end
  -- As require does: a module may be required by another, and be asked for once only.
  if value ~= nil then
    loaded[name] = value
  elseif loaded[name] == nil then
    loaded[name] = true
  end
  return loaded[name]
end

local function is_callable(value)
  if type(value) == "function" then
    return true
  end
  local metatable = getmetatable(value)
  return type(metatable) == "table" and type(rawget(metatable, "__call")) == "function"
end

-- The handler that a module has under `name`: in the table that it gives, as a global, or what it gives is a function.
local function find_function(module, name)
  if type(module) == "table" then
    local done, value = pcall(function() return module[name] end)
    if done and is_callable(value) then
      return value
    end
  end
  if type(module) == "function" then
    return module
  end
  local value = rawget(globals, name)
  return is_callable(value) and value or nil
end

-- The handler of a folder that was not deployed. Raises LoadError.
local function find_handler()
  for _, name in next, MODULES do
    local file = searchpath(name, (gsub(OWN_MODULES, "%%s", TASK_ROOT)))
    if file then
      local module = load_module(name, file)
      for _, attribute in next, HANDLERS do
        local handler = find_function(module, attribute)
        if handler then
          return handler
        end
      end
      fail_to_load(make_report("Runtime.HandlerNotFound",
        format("Module '%s' has neither handler(event, context) nor handle(event)", name)))
    end
  end
  fail_to_load(make_report("Runtime.ImportModuleError", "Unable to import module: no app.lua and no workload.lua"))
end

-- The handler that a deployed function names. Raises LoadError.
local function configured_handler(name)
  local path, attribute = match(name, "^(.*)%.([^.]*)$")
  if not path then
    fail_to_load(make_report("Runtime.MalformedHandlerName", format("Bad handler '%s': it has no dot", name)))
  end
  local module_name = gsub(path, "/", ".")
  local file = searchpath(module_name, package.path)
  if not file then
    fail_to_load(make_report("Runtime.ImportModuleError",
      format("Unable to import module '%s': module '%s' not found", path, module_name)))
  end
  local handler = find_function(load_module(module_name, file), attribute)
  if not handler then
    fail_to_load(make_report("Runtime.HandlerNotFound",
      format("Handler '%s' missing on module '%s'", attribute, path)))
  end
  return handler
end

local function read_file(path)
  local file, problem, code = io.open(path, "rb")
  if not file then
    return nil, problem, code
  end
  local data
  data, problem = file:read("a")
  file:close()
  return data, problem
end

-- How a deployed function is to be run; nil of a mere folder. Raises LoadError.
local function read_configuration()
  local ENOENT, ENOTDIR = 2, 20
  local text, problem, code = read_file(TASK_ROOT .. "/" .. CONFIGURATION)
  if not text then
    if code == ENOENT or code == ENOTDIR then
      return nil
    end
    fail_to_load(make_report("Runtime.InitError", format("%s cannot be read: %s", CONFIGURATION, problem)))
  end
  local done, configuration = pcall(decode, text)
  if not done then
    fail_to_load(make_report("Runtime.InitError", format("%s cannot be read: %s", CONFIGURATION, configuration)))
  end
  if type(configuration) ~= "table" or type(configuration.handler) ~= "string" then
    fail_to_load(make_report("Runtime.InitError", CONFIGURATION .. " names no handler"))
  end
  return configuration
end

local function is_deployed()
  return getenv("_HANDLER") ~= nil
end

-- One for each microVM, as one snapshot gives many.
local function renew_log_stream_name()
  local version = getenv("AWS_LAMBDA_FUNCTION_VERSION") or "$LATEST"
  setenv("AWS_LAMBDA_LOG_STREAM_NAME", make_log_stream_name(version, hexadecimal(random_bytes(16))))
end

local function set_variable(name, value)
  local done, problem = false, "it is no string"
  if type(value) == "string" and not find(name .. value, "\0", 1, true) then
    done, problem = setenv(name, value)
  end
  if not done then
    local message = format("an environment variable cannot be set: %s: %s", name, problem)
    fail_to_load(make_report("Runtime.InitError", message))
  end
end

local function set_up_environment(configuration)
  local name = known(configuration.functionName, nil, "function")
  local region = known(configuration.region, nil, "us-east-1")
  for variable, value in next, {
    _HANDLER = configuration.handler,
    AWS_DEFAULT_REGION = region,
    AWS_EXECUTION_ENV = "AWS_Lambda_lua5.4",
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE = known(configuration.memorySize, nil, ""),
    AWS_LAMBDA_FUNCTION_NAME = name,
    AWS_LAMBDA_FUNCTION_VERSION = known(configuration.functionVersion, nil, "$LATEST"),
    AWS_LAMBDA_LOG_GROUP_NAME = "/aws/lambda/" .. name,
    AWS_REGION = region,
    LAMBDA_RUNTIME_DIR = RUNTIME_FOLDER,
    LAMBDA_TASK_ROOT = LAMBDA_TASK_ROOT,
    TZ = ":UTC",
  } do
    set_variable(variable, value)
  end
  renew_log_stream_name()
  -- The function's own go last, so that it may have another time zone.
  if type(configuration.environment) == "table" then
    for variable, value in next, configuration.environment do
      set_variable(variable, value)
    end
  end
  if getenv("TZ") ~= ":UTC" then
    mktime({ year = 2000, month = 1, day = 1 }) -- the C library looks at TZ then, not in os.date
  end
end

-- What package.path and package.cpath are outside a function: without the current folder, which a function has anyway.
local image_path = gsub(package.path, ";%./%?%.lua;%./%?/init%.lua$", "")
local image_cpath = gsub(package.cpath, ";%./%?%.so$", "")

local function set_up_paths(root)
  package.path = concat({ (gsub(OWN_MODULES, "%%s", root)), image_path, (gsub(BROUGHT_MODULES, "%%s", root)) }, ";")
  package.cpath = concat({ root .. "/?.so", image_cpath, (gsub(BROUGHT_LIBRARIES, "%%s", root)) }, ";")
  chdir(root)
end

-- ---- answering ------------------------------------------------------------------------------------------------------

-- Runs one event: the frame to send back, and the report if it is an error. Never raises.
local function answer(handler, payload, context_values)
  local context = make_context(context_values)
  local request_id = context.aws_request_id
  local function refuse(report)
    return "error", encode(report), report
  end
  local done, event = pcall(decode, payload)
  if not done then
    return refuse(make_report("Runtime.UnmarshalError", "Event is not JSON: " .. event, nil, request_id))
  end
  local response
  done, response = call(handler, event, context)
  if not done then
    return refuse(report_failure(response, request_id))
  end
  local data
  done, data = pcall(encode, response)
  if not done then
    return refuse(make_report("Runtime.MarshalError", "Unable to marshal response: " .. data, nil, request_id))
  end
  if #data > MAX_RESPONSE_BYTES then
    local message = format("Response payload size (%d bytes) exceeded maximum allowed payload size (%d bytes).",
      #data, MAX_RESPONSE_BYTES)
    return refuse(make_report("Function.ResponseSizeTooLarge", message, nil, request_id))
  end
  return "result", data
end

-- As `answer`, with errors in the log.
local function answer_deployed(handler, payload, context_values)
  local kind, data, report = answer(handler, payload, context_values)
  if report then
    log_report(report)
  end
  return kind, data
end

local function flush_output()
  pcall(stdout.flush, stdout) -- the function may have closed it
  pcall(stderr.flush, stderr)
end

-- Answers events for ever. `respond` is called with the payload and the context's values.
local function serve(respond)
  local context_values = {}
  while true do
    local kind, payload = read_frame()
    if kind == "context" then
      local done, values = pcall(decode, payload)
      if not done then
        die("the host sent a context that is not JSON: " .. values)
      end
      context_values = type(values) == "table" and values or {}
    elseif kind == "event" then
      local reply_kind, reply = respond(payload, context_values)
      flush_output()
      write_frame(reply_kind, reply)
    else
      die("the host sent a frame of unknown kind")
    end
  end
end

-- ---- from start to serving ------------------------------------------------------------------------------------------

-- The generator that was seeded in the snapshot would give the same numbers in each VM restored from it.
local function reseed(seed)
  local function part(index)
    return tonumber(sub(seed, 16 * index + 1, 16 * index + 16), 16) or 0
  end
  -- Lua's has 128 bits of state to seed.
  randomseed(part(0) ~ part(2), part(1) ~ part(3))
end

-- What a function wants done around a function snapshot: require("snapstart"), after AWS Lambda's snapshot_restore_py.
local before_snapshot, after_restore = {}, {}

local function registrar(hooks)
  return function(hook, ...)
    if not is_callable(hook) then
      error("a hook must be a function", 2)
    end
    hooks[#hooks + 1] = { hook, { n = select("#", ...), ... } }
    return hook
  end
end

-- Raises LoadError.
local function run_hook(hook)
  local done, failure = call(hook[1], unpack(hook[2], 1, hook[2].n))
  if not done then
    fail_to_load(report_failure(failure))
  end
end

local function run_before_snapshot()
  -- In reverse order, as what was set up last is taken down first.
  for index = #before_snapshot, 1, -1 do
    run_hook(before_snapshot[index])
  end
end

local function run_after_restore()
  for index = 1, #after_restore do
    run_hook(after_restore[index])
  end
end

-- A heap at rest: nothing is left to sweep, and the collector, which writes to every object that it marks, begins its
-- next round when the heap has doubled. Most functions answer their first request before that. The generational mode
-- would leave old objects alone for longer, but starts a round at a growth of a fifth.
local function rest_heap()
  collectgarbage()
  collectgarbage()
end

-- The function that answers events, after the agent's `command`. Raises LoadError.
local function load_function(command)
  local word, argument = match(command, "^(%S+) ?(.*)$")
  if word == "fail" then
    fail_to_load(make_report("Runtime.InitError", argument))
  elseif word ~= "load" then
    die("the agent said '" .. sub(command, 1, 80) .. "'")
  end
  local seed, snapshot = match(argument, "^(%x+) ?(.*)$")
  snapshot = snapshot == "checkpoint"
  setenv("AWS_LAMBDA_INITIALIZATION_TYPE", snapshot and "snap-start" or "on-demand")
  reseed(seed or "")
  local configuration = read_configuration()
  local handler, respond
  if configuration then
    set_up_environment(configuration)
    set_up_paths(LAMBDA_TASK_ROOT)
    handler, respond = configured_handler(configuration.handler), answer_deployed
  else
    set_up_paths(TASK_ROOT)
    handler, respond = find_handler(), answer
  end
  if snapshot then
    run_before_snapshot()
    rest_heap()
  end
  return function(payload, context_values)
    return respond(handler, payload, context_values)
  end
end

-- Behind the function snapshot. Raises LoadError.
local function resume(command)
  local seed = match(command, "^resume (%x+)$")
  if not seed then
    die("the agent said '" .. sub(command, 1, 80) .. "'")
  end
  reseed(seed)
  if is_deployed() then
    renew_log_stream_name()
  end
  run_after_restore()
end

-- Tells the host that the function is of no use; the answer to every event from then on.
local function refuse_for_ever(report)
  local failure = encode(report)
  if is_deployed() then
    log_report(report)
  end
  flush_output()
  write_frame("init-error", failure)
  return function()
    return "error", failure
  end
end

-- What `run` returns, or false and the report of a LoadError.
local function load_safely(run, command)
  local done, result = call(run, command)
  if done then
    return true, result
  end
  return false, getmetatable(result) == LoadError and result.report or report_failure(result)
end

-- Runs the code of a first request once, so that its pages are in the snapshot.
local function warm_up()
  local values = decode('{"functionName":"f","requestId":"r","deadlineMs":1e13,"memoryLimitInMB":128}')
  local function handler(event, context)
    return { n = event.n + 0.5, t = context.get_remaining_time_in_millis(), l = event.l, s = event.s }
  end
  answer(handler, '{"n": 1, "s": "\\u00e4\\n", "l": [1.5, true, null, {}, []]}', values)
  answer(handler, "{}", values)
  answer(handler, "not json", values)
  local chunk = load("local m = ...\nlocal function f() error('warm') end\nreturn f()", "@/srv/app.lua")
  call(chunk, "app")
  loadfile(TASK_ROOT .. "/app.lua")
  searchpath("app", TASK_ROOT .. "/?.lua")
  read_file(TASK_ROOT .. "/" .. CONFIGURATION)
  make_uuid()
  reseed(rep("0", 64))
  io.open("/dev/null"):close()
end

local function main()
  stdout:setvbuf("line")
  loaded.snapstart = {
    register_before_snapshot = registrar(before_snapshot),
    register_after_restore = registrar(after_restore),
  }
  loaded["snapfaas.json"] = json
  warm_up()
  rest_heap()
  write_all(CONTROL_OUT_FD, "ready\n")
  local command = read_line()
  local done, respond = load_safely(load_function, command)
  if not done then
    respond = refuse_for_ever(respond)
    write_all(CONTROL_OUT_FD, "failed\n")
  else
    flush_output()
    write_all(CONTROL_OUT_FD, "loaded\n")
    if sub(command, -11) == " checkpoint" then
      local resumed, report = load_safely(resume, read_line())
      if not resumed then
        respond = refuse_for_ever(report)
      end
    end
  end
  serve(respond)
end

main()
