local uv = require("luv")

local cases = {}
local seen = 0

function cases.echo(event)
  return { echo = event.value }
end

function cases.raise()
  error("wanted: \u{e4}")
end

function cases.log(event)
  for line = 1, event.lines do
    print("out " .. line)
    io.stderr:write("err ", line, "\n")
  end
end

function cases.large(event)
  return { length = utf8.len(event.padding), text = ("x"):rep(event.bytes) }
end

function cases.context(_, context)
  return {
    requestId = context.aws_request_id,
    functionName = context.function_name,
    functionVersion = context.function_version,
    memory = context.memory_limit_in_mb,
    arn = context.invoked_function_arn,
    remaining = context.get_remaining_time_in_millis(),
    logStream = context.log_stream_name,
    custom = context.client_context and context.client_context.custom,
  }
end

function cases.environment()
  return {
    handler = os.getenv("_HANDLER"),
    region = os.getenv("AWS_REGION"),
    value = os.getenv("CONTRACT_VALUE"),
    cwd = uv.cwd(),
    root = os.getenv("LAMBDA_TASK_ROOT"),
  }
end

function cases.tmp()
  local file = assert(io.open("/tmp/contract", "a"))
  file:write("x")
  local size = file:seek("end")
  file:close()
  return { bytes = size }
end

function cases.sleep(event)
  uv.sleep(math.floor(event.seconds * 1000))
  return { slept = event.seconds }
end

function cases.memory()
  local kept = {}
  while true do
    kept[#kept + 1] = ("x"):rep(1024 * 1024) .. #kept
  end
end

function cases.exit()
  os.exit(3)
end

function cases.signal()
  uv.kill(uv.os_getpid(), "sigsegv")
  uv.sleep(10000)
end

function cases.count()
  return { count = seen }
end

function cases.unserialisable()
  return { value = print }
end

local function handler(event, context)
  seen = seen + 1
  return cases[event.case](event, context)
end

return { handler = handler }
