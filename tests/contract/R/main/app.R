events <- 0

cases <- list(
  echo = function(event, context) list(echo = event$value),
  raise = function(event, context) stop("wanted: \u00e4"),
  log = function(event, context) {
    for (line in seq_len(event$lines)) {
      cat("out ", line, "\n", sep = "")
      cat("err ", line, "\n", sep = "", file = stderr())
    }
    NULL
  },
  large = function(event, context) list(length = nchar(event$padding), text = strrep("x", event$bytes)),
  context = function(event, context) {
    list(
      requestId = context$aws_request_id,
      functionName = context$function_name,
      functionVersion = context$function_version,
      memory = context$memory_limit_in_mb,
      arn = context$invoked_function_arn,
      remaining = context$get_remaining_time_in_millis(),
      logStream = context$log_stream_name,
      custom = context$client_context$custom
    )
  },
  environment = function(event, context) {
    list(
      handler = Sys.getenv("_HANDLER"),
      region = Sys.getenv("AWS_REGION"),
      value = Sys.getenv("CONTRACT_VALUE"),
      cwd = getwd(),
      root = Sys.getenv("LAMBDA_TASK_ROOT")
    )
  },
  tmp = function(event, context) {
    cat("x", file = "/tmp/contract", append = TRUE)
    list(bytes = file.size("/tmp/contract"))
  },
  sleep = function(event, context) {
    Sys.sleep(event$seconds)
    list(slept = event$seconds)
  },
  memory = function(event, context) {
    chunks <- list()
    repeat chunks[[length(chunks) + 1]] <- raw(4 * 1024 * 1024)
  },
  exit = function(event, context) quit("no", status = 3),
  signal = function(event, context) tools::pskill(Sys.getpid(), 11),
  count = function(event, context) list(count = events),
  unserialisable = function(event, context) globalenv()
)

handler <- function(event, context) {
  events <<- events + 1
  cases[[event$case]](event, context)
}
