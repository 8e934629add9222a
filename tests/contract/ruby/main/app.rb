# The function of the shared contract suite: what it does is said by the event's "case".
$events = 0

def handler(event:, context:)
  $events += 1
  case event["case"]
  when "echo" then { "echo" => event["value"] }
  when "raise" then raise ArgumentError, "wanted: \u00e4"
  when "log" then log(event["lines"])
  when "large" then { "length" => event["padding"].length, "text" => "x" * event["bytes"] }
  when "context" then describe(context)
  when "environment" then environment
  when "tmp" then tmp
  when "sleep"
    sleep(event["seconds"])
    { "slept" => event["seconds"] }
  when "memory" then use_all_memory
  when "exit" then exit(3)
  # Ruby itself catches SIGSEGV.
  when "signal" then Process.kill(:KILL, Process.pid)
  when "count" then { "count" => $events }
  when "unserialisable" then Float::NAN
  else raise ArgumentError, "no such case"
  end
end

def log(lines)
  (1..lines).each do |line|
    puts "out #{line}"
    warn "err #{line}"
  end
  nil
end

def describe(context)
  {
    "requestId" => context.aws_request_id,
    "functionName" => context.function_name,
    "functionVersion" => context.function_version,
    "memory" => context.memory_limit_in_mb,
    "arn" => context.invoked_function_arn,
    "remaining" => context.get_remaining_time_in_millis,
    "logStream" => context.log_stream_name,
    "custom" => context.client_context&.fetch("custom", nil)
  }
end

def environment
  {
    "handler" => ENV["_HANDLER"],
    "region" => ENV["AWS_REGION"],
    "value" => ENV["CONTRACT_VALUE"],
    "cwd" => Dir.pwd,
    "root" => ENV["LAMBDA_TASK_ROOT"]
  }
end

def tmp
  File.write("/tmp/contract", "x", mode: "a")
  { "bytes" => File.size("/tmp/contract") }
end

def use_all_memory
  taken = []
  loop { taken << "x" * (1 << 20) }
end
