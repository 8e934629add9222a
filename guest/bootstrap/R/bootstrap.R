# The R bootstrap: docs/guest_contract.md, "Agent and bootstrap" and "Request channel"; docs/runtimes/R.md.
#
# Started once, before the snapshot; everything up to the line "ready" is in the snapshot. What comes after it runs in
# every restored VM while a caller waits, so it touches little memory and reads as few files as it can.

TASK_ROOT <- "/srv"
# The same folder by the name that AWS Lambda gives it, and what is in that of a deployed function alone: how to run it.
LAMBDA_TASK_ROOT <- "/var/task"
CONFIGURATION <- ".snapfaas/function.json"
RUNTIME_FOLDER <- "/usr/lib/snapfaas"
# AWS Lambda's limit for a response.
MAX_RESPONSE_BYTES <- 6291556L
# An error report must fit a frame whatever a function puts into it.
MAX_MESSAGE_CHARACTERS <- 256L * 1024L
MAX_STACK_LINES <- 100L
MAX_STACK_LINE_CHARACTERS <- 4L * 1024L
# A frame above this is not kept a second time while the function runs; an answer above the other leaves memory that the
# machine may need for something else.
LARGE_FRAME_BYTES <- 64L * 1024L
LARGE_ANSWER_BYTES <- 1024L * 1024L
# Below the function's folder, where R packages may lie; the last is where a Debian package has them.
LIBRARY_FOLDERS <- c("library", "package", "package/usr/lib/R/site-library")

NATIVE <- local({
  library <- dyn.load(file.path(RUNTIME_FOLDER, "guest.so"))
  names <- c("set_up", "read_frame", "drop_frame", "write_frame", "read_control", "write_control",
             "quote_texts", "drop_texts", "spread_seed", "random_bytes", "flush", "trim", "bytes_in_use")
  sapply(names, function(name) getNativeSymbolInfo(paste0("snapfaas_", name), library)$address, simplify = FALSE)
})

# ---- descriptors -----------------------------------------------------------------------------------------------------

give_up <- function(reason) {
  cat("snapfaas-bootstrap: ", reason, "\n", sep = "", file = stderr())
  quit("no", 1L, FALSE)
}

# The frame that came last. Who takes the payload leaves none: its memory is to be had again while the function runs.
inbox <- new.env(parent = emptyenv())

FRAME_PROBLEMS <- c("a frame header without an end", "a malformed frame header", "nothing that can be read",
                    "a frame larger than the memory")

# Leaves payload and has_nul in the inbox; returns the kind.
read_frame <- function() {
  frame <- .C(NATIVE$read_frame, status = 0L, kind = "", payload = "")
  if (frame$status > 1L) give_up(paste("the host sent", FRAME_PROBLEMS[[frame$status - 1L]]))
  inbox$payload <- frame$payload
  inbox$has_nul <- frame$status == 1L
  if (nchar(frame$payload, "bytes") > LARGE_FRAME_BYTES) .C(NATIVE$drop_frame)
  frame$kind
}

# `pieces` together are the payload.
write_frame <- function(kind, pieces) {
  written <- .C(NATIVE$write_frame, kind, pieces, length(pieces), done = 0L)
  if (written$done == 0L) give_up("the host cannot be written to")
}

read_control <- function() {
  line <- .C(NATIVE$read_control, text = "", done = 0L)
  if (line$done == 0L) give_up("the agent is gone")
  line$text
}

write_control <- function(line) .C(NATIVE$write_control, paste0(line, "\n"))

flush_output <- function() .C(NATIVE$flush)

# ---- JSON ------------------------------------------------------------------------------------------------------------

# Arrays become lists, objects named lists, and nothing is simplified: [1] and 1 stay two things.
parse_payload <- function() {
  text <- inbox$payload
  inbox$payload <- NULL
  if (inbox$has_nul) stop("it contains a NUL byte")
  if (!validUTF8(text)) stop("it is not UTF-8")
  jsonlite::parse_json(text)
}

# jsonlite::toJSON costs some fifty times as much for each value of a nested list, and rounds numbers to 15 digits.
encode <- function(value, always_array = FALSE) {
  if (is.null(value)) return("null")
  if (is.object(value)) return(encode_object(value, always_array))
  if (is.list(value)) return(encode_list(value))
  if (!is.atomic(value)) stop("JSON has nothing like this: ", class(value)[[1L]])
  cells <- encode_cells(value)
  if (length(dim(value)) > 0L) return(nest(cells, dim(value)))
  if (length(cells) == 1L && !always_array) cells else bracket(cells)
}

bracket <- function(cells) paste0("[", paste(cells, collapse = ","), "]")

SCALAR_TYPES <- c("logical", "integer", "double", "character")

encode_list <- function(value) paste(encode_pieces(value), collapse = "")

# The same, not yet joined: what is large has no copy more than need be.
encode_pieces <- function(value) {
  if (is.null(value) || is.object(value) || !is.list(value)) return(encode(value))
  keys <- names(value)
  count <- length(value)
  if (count == 0L) return(if (is.null(keys)) "[]" else "{}")
  cells <- if (count < 8L) vapply(value, encode, "", USE.NAMES = FALSE) else encode_many(value)
  separators <- c("", rep(",", count - 1L))
  if (is.null(keys)) return(c("[", rbind(separators, cells), "]"))
  c("{", rbind(paste0(separators, quote_text(keys), ":"), cells), "}")
}

# Mere scalars together, one type after the other: most of what a long list holds, and quicker than one by one.
encode_many <- function(value) {
  cells <- character(length(value))
  types <- vapply(value, typeof, "", USE.NAMES = FALSE)
  scalar <- lengths(value) == 1L & types %in% SCALAR_TYPES & vapply(lapply(value, attributes), is.null, NA)
  for (type in unique(types[scalar])) {
    same <- which(scalar & types == type)
    cells[same] <- encode_cells(unlist(value[same], FALSE, FALSE))
  }
  others <- which(!scalar)
  if (length(others) > 0L) cells[others] <- vapply(value[others], encode, "", USE.NAMES = FALSE)
  cells
}

# An array of arrays, the first dimension being the outermost.
nest <- function(cells, dimensions) {
  if (length(dimensions) == 1L) return(bracket(cells))
  rows <- dimensions[[1L]]
  row <- function(i) nest(if (length(cells) > 0L) cells[seq.int(i, length(cells), rows)] else cells, dimensions[-1L])
  bracket(vapply(seq_len(rows), row, ""))
}

# Each element of an atomic vector.
encode_cells <- function(value) {
  cells <- switch(typeof(value),
    logical = c("false", "true")[value + 1L],
    integer = sprintf("%d", value),
    double = encode_doubles(value),
    character = quote_text(value),
    raw = return(quote_text(jsonlite::base64_enc(value))),
    stop("JSON has nothing like this: ", typeof(value), " vector")
  )
  if (anyNA(value)) cells[is.na(value)] <- "null"
  cells
}

# As few digits as give the same number again.
encode_doubles <- function(value) {
  if (any(is.nan(value) | is.infinite(value))) stop("JSON has no NaN and no infinite numbers")
  cells <- sprintf("%.15g", value)
  longer <- which(as.numeric(cells) != value)
  if (length(longer) > 0L) cells[longer] <- sprintf("%.17g", value[longer])
  cells
}

quote_text <- function(text) {
  if (length(text) == 0L) return(character())
  text <- enc2utf8(text)
  if (!all(validUTF8(text))) stop("a text is not UTF-8")
  quoted <- .C(NATIVE$quote_texts, text, length(text))[[1L]]
  .C(NATIVE$drop_texts)
  quoted
}

# What has a class: JSON from jsonlite::toJSON goes out as it is; jsonlite knows what to do with rarer ones.
encode_object <- function(value, always_array) {
  if (inherits(value, "json")) return(paste(value, collapse = "\n"))
  if (inherits(value, "AsIs")) return(encode(without_class(value, "AsIs"), TRUE))
  if (inherits(value, "data.frame")) return(encode_data_frame(value))
  if (inherits(value, "factor")) return(encode(as.character(value), always_array))
  if (inherits(value, "Date")) return(encode(format(value), always_array))
  if (inherits(value, "POSIXt")) return(encode(format(value, "%Y-%m-%dT%H:%M:%SZ", tz = "UTC"), always_array))
  if (is.atomic(value) && !inherits(value, "integer64")) return(encode(unclass(value), always_array))
  enc2utf8(unclass(jsonlite::toJSON(value, auto_unbox = !always_array, null = "null", na = "null", digits = NA)))
}

without_class <- function(value, name) {
  rest <- setdiff(oldClass(value), name)
  oldClass(value) <- if (length(rest) > 0L) rest
  value
}

# An array with an object for each row; rows that have names tell them as "_row", as jsonlite does.
encode_data_frame <- function(value) {
  if (nrow(value) == 0L) return("[]")
  if (is.character(attr(value, "row.names"))) value <- c(as.list(value), list("_row" = attr(value, "row.names")))
  column <- function(key, cells) paste0(quote_text(key), ":", encode_column(cells))
  bracket(paste0("{", do.call(paste, c(unname(Map(column, names(value), value)), sep = ",")), "}"))
}

encode_column <- function(column) {
  rows <- NROW(column)
  if (length(dim(column)) == 2L) {
    vapply(seq_len(rows), function(i) encode(if (is.data.frame(column)) lapply(column, `[[`, i) else column[i, ]), "")
  } else if (is.object(column) || is.list(column)) {
    vapply(seq_len(rows), function(i) encode(column[[i]]), "")
  } else {
    encode_cells(column)
  }
}

# ---- errors ----------------------------------------------------------------------------------------------------------

make_report <- function(type, message, stack = character(), request_id = "") {
  if (length(stack) > MAX_STACK_LINES) {
    half <- MAX_STACK_LINES %/% 2L
    more <- sprintf("... %d more ...", length(stack) - 2L * half)
    stack <- c(head_of(stack, half), more, rev(head_of(rev(stack), half)))
  }
  list(
    errorMessage = substr(message, 1L, MAX_MESSAGE_CHARACTERS),
    errorType = type,
    requestId = request_id,
    stackTrace = as.list(substr(stack, 1L, MAX_STACK_LINE_CHARACTERS))
  )
}

head_of <- function(vector, count) vector[seq_len(count)]

# A function's text may be anything; a report must be JSON.
readable <- function(text) {
  text <- paste(enc2utf8(as.character(text)), collapse = "\n")
  if (validUTF8(text)) text else iconv(text, "UTF-8", "UTF-8", sub = "byte")
}

encode_report <- function(report) encode(report)

# How a call looks in a stack trace; `place` is where it was made, as far as R knows.
describe_call <- function(call, place = attr(call, "srcref")) {
  force(place)
  attr(call, "srcref") <- NULL
  text <- readable(deparse(call, 100L, nlines = 1L)[[1L]])
  file <- if (!is.null(place)) attr(place, "srcfile")$filename
  if (is.null(file)) text else sprintf("%s at %s#%d", text, file, place[[1L]])
}

# The function's own calls among `calls`, which end with that of the handler which has seen the error: outermost first.
describe_calls <- function(calls, error, first) {
  raised <- NULL
  if (length(calls) > 0L) {
    last <- calls[[length(calls)]]
    if (identical(last[[1L]], quote(.handleSimpleError))) {
      calls <- calls[-length(calls)]
      # An error of R's own functions: those that are not written in R are in no list of calls.
      call <- conditionCall(error)
      within <- if (length(calls) > 0L) calls[[length(calls)]]
      attr(within, "srcref") <- NULL
      is_stop <- is.call(within) && identical(within[[1L]], quote(stop))
      if (!is.null(call) && !is_stop && !identical(within, call)) raised <- describe_call(call, attr(last, "srcref"))
    }
  }
  if (length(calls) > MAX_STACK_LINES) {
    half <- MAX_STACK_LINES %/% 2L
    # So many that describing them takes long: make_report leaves out the middle, which need not be right.
    middle <- rep("...", length(calls) - 2L * half)
    ends <- c(head_of(calls, half), rev(head_of(rev(calls), half)))
    texts <- vapply(ends, describe_call, "")
    return(c(first, head_of(texts, half), middle, rev(head_of(rev(texts), half)), raised))
  }
  texts <- vapply(calls, describe_call, "")
  # Code at the top level may be a call of its own.
  c(if (!identical(first, texts[1L])) first, texts, raised)
}

report_error <- function(error, stack, type = NULL, request_id = "") {
  message <- tryCatch(readable(conditionMessage(error)), error = function(error) "<unprintable>")
  make_report(if (is.null(type)) class(error)[[1L]] else type, message, stack, request_id)
}

# Runs code of the function. Gives list(value =) or, where an error has ended it, list(error =, stack =). `own_frames`
# is how many calls lie between `run` and what the function has written, `first()` what to say in their place.
attempt <- function(run, own_frames, first) {
  depth <- 0L
  calls <- NULL
  begin <- function() {
    depth <<- sys.nframe()
    run()
  }
  note_calls <- function(error) calls <<- sys.calls()
  tryCatch(
    withCallingHandlers(list(value = begin()), error = note_calls),
    error = function(error) {
      # Behind `begin` and `run`, and without note_calls itself.
      from <- depth + 2L + own_frames
      own <- if (length(calls) - 1L >= from) calls[from:(length(calls) - 1L)] else list()
      stack <- tryCatch(describe_calls(own, error, first()), error = function(error) character())
      list(error = error, stack = stack)
    }
  )
}

# The function cannot be loaded; `report` is the error to answer with.
stop_loading <- function(report) {
  stop(structure(class = c("snapfaas_load_error", "error", "condition"),
                 list(message = report$errorMessage, call = NULL, report = report)))
}

# ---- the context -----------------------------------------------------------------------------------------------------

random_hex <- function(bytes) paste(.C(NATIVE$random_bytes, raw(bytes), as.integer(bytes))[[1L]], collapse = "")

make_uuid <- function() {
  digits <- random_hex(16L)
  substr(digits, 13L, 13L) <- "4"
  substr(digits, 17L, 17L) <- "a"
  paste(substring(digits, c(1L, 9L, 13L, 17L, 21L), c(8L, 12L, 16L, 20L, 32L)), collapse = "-")
}

make_log_stream_name <- function(version, unique) {
  sprintf("%s/[%s]%s", format(Sys.time(), "%Y/%m/%d", tz = "UTC"), version, unique)
}

first_of <- function(...) {
  for (value in list(...)) if (!is.null(value) && !identical(value, "")) return(as.character(value))
  ""
}

# What a handler gets as its second argument. Of a deployed function the environment says what the host does not.
make_context <- function(values) {
  known <- function(name) Sys.getenv(paste0("AWS_LAMBDA_", name))
  id <- if (is.null(values[["requestId"]])) make_uuid() else first_of(values[["requestId"]])
  name <- first_of(values[["functionName"]], known("FUNCTION_NAME"), "function")
  version <- first_of(values[["functionVersion"]], known("FUNCTION_VERSION"), "$LATEST")
  stream <- known("LOG_STREAM_NAME")
  if (stream == "") stream <- make_log_stream_name(version, gsub("-", "", id, fixed = TRUE))
  deadline <- values[["deadlineMs"]]
  list(
    aws_request_id = id,
    function_name = name,
    function_version = version,
    invoked_function_arn = first_of(values[["invokedFunctionArn"]]),
    memory_limit_in_mb = first_of(values[["memoryLimitInMB"]], known("FUNCTION_MEMORY_SIZE")),
    log_group_name = first_of(known("LOG_GROUP_NAME"), paste0("/aws/lambda/", name)),
    log_stream_name = stream,
    client_context = values[["clientContext"]],
    get_remaining_time_in_millis = function() {
      if (is.numeric(deadline)) max(0, floor(deadline - as.numeric(Sys.time()) * 1000)) else 0
    }
  )
}

# ---- events ----------------------------------------------------------------------------------------------------------

# Runs one event with a handler as find_handler gives it; list(kind =, pieces =) to send back. Never an error.
answer <- function(handler, values) {
  context <- make_context(values)
  id <- context$aws_request_id
  failed <- function(report) list(kind = "error", pieces = encode_report(report))
  parsed <- tryCatch(list(event = parse_payload()), error = function(error) {
    list(problem = sub("\n.*", "", readable(conditionMessage(error))))
  })
  if (!is.null(parsed$problem)) {
    return(failed(make_report("Runtime.UnmarshalError", paste("Event is not JSON:", parsed$problem), request_id = id)))
  }
  event <- parsed$event
  parsed <- NULL
  call <- handler$call
  response <- attempt(function() call(event, context), handler$own_frames, function() handler$label)
  if (!is.null(response$error)) return(failed(report_error(response$error, response$stack, request_id = id)))
  event <- NULL
  encoded <- tryCatch(list(pieces = encode_pieces(response$value)), error = function(error) {
    list(problem = readable(conditionMessage(error)))
  })
  if (!is.null(encoded$problem)) {
    message <- paste("Unable to marshal response:", encoded$problem)
    return(failed(make_report("Runtime.MarshalError", message, request_id = id)))
  }
  size <- sum(nchar(encoded$pieces, "bytes"))
  if (size > MAX_RESPONSE_BYTES) {
    message <- sprintf("Response payload size (%d bytes) exceeded maximum allowed payload size (%d bytes).",
                       size, MAX_RESPONSE_BYTES)
    return(failed(make_report("Function.ResponseSizeTooLarge", message, request_id = id)))
  }
  list(kind = "result", pieces = encoded$pieces)
}

log_report <- function(report) {
  stack <- unlist(report$stackTrace)
  trace <- if (length(stack) > 0L) c("Traceback (most recent call last):", paste0("  ", stack))
  lines <- c(sprintf("[ERROR] %s: %s", report$errorType, report$errorMessage), trace)
  cat(paste0(lines, "\n"), sep = "", file = stdout())
}

# As `answer`, with errors in the log.
answer_deployed <- function(handler, values) {
  reply <- answer(handler, values)
  if (reply$kind == "error") log_report(jsonlite::parse_json(reply$pieces))
  reply
}

# Answers events for ever. `respond` is called with the context's values, the event being in the inbox.
serve <- function(respond) {
  values <- list()
  repeat {
    kind <- read_frame()
    if (kind == "context") {
      values <- tryCatch(parse_payload(), error = function(error) give_up("the host sent a context that is not JSON"))
      if (is.null(names(values))) values <- list()
    } else if (kind == "event") {
      reply <- respond(values)
      flush_output()
      write_frame(reply$kind, reply$pieces)
      large <- sum(nchar(reply$pieces, "bytes")) > LARGE_ANSWER_BYTES
      reply <- NULL
      if (large) {
        gc()
        .C(NATIVE$trim)
      }
    } else {
      give_up(sprintf("the host sent a frame of unknown kind '%s'", substr(kind, 1L, 40L)))
    }
  }
}

# ---- what differs in each VM -----------------------------------------------------------------------------------------

# Every generator that was seeded in the snapshot would give the same numbers in each VM restored from it.
reseed <- function(seed) {
  state <- .C(NATIVE$spread_seed, seed, integer(624L))[[2L]]
  # Whatever generator the function has chosen; of R's own, the whole state.
  set.seed(state[[1L]])
  current <- get(".Random.seed", globalenv(), inherits = FALSE)
  if (current[[1L]] %% 100L == 3L) assign(".Random.seed", c(current[[1L]], 624L, state), globalenv())
}

renew_log_stream_name <- function() {
  version <- Sys.getenv("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
  Sys.setenv(AWS_LAMBDA_LOG_STREAM_NAME = make_log_stream_name(version, random_hex(16L)))
}

is_deployed <- function() Sys.getenv("_HANDLER") != ""

# What a function wants done around a snapshot of itself, in the order in which it has said so.
hooks <- new.env(parent = emptyenv())
hooks$before <- list()
hooks$after <- list()

offer_hooks <- function() {
  registrar <- function(kind) {
    function(hook, ...) {
      hook <- match.fun(hook)
      arguments <- list(...)
      assign(kind, c(get(kind, hooks), list(function() do.call(hook, arguments))), hooks)
      invisible(hook)
    }
  }
  offered <- list(register_before_snapshot = registrar("before"), register_after_restore = registrar("after"))
  attach(offered, name = "snapfaas", warn.conflicts = FALSE)
}

run_hooks <- function(list_of_hooks) {
  for (hook in list_of_hooks) {
    ran <- attempt(hook, 2L, function() "hook()")
    if (!is.null(ran$error)) stop_loading(report_error(ran$error, ran$stack))
  }
}

# ---- loading ---------------------------------------------------------------------------------------------------------

# Runs the file at the top level, as Rscript does. `name` is the module's in Lambda's words.
run_file <- function(name, path) {
  expressions <- tryCatch(parse(path, keep.source = TRUE, encoding = "UTF-8"), error = function(error) error)
  if (inherits(expressions, "error")) {
    report <- report_error(expressions, character(), "Runtime.UserCodeSyntaxError")
    report$errorMessage <- sprintf("Syntax error in module '%s': %s", name, report$errorMessage)
    stop_loading(report)
  }
  places <- attr(expressions, "srcref")
  current <- 0L
  run <- function() {
    for (i in seq_along(expressions)) {
      current <<- i
      eval(expressions[i], globalenv())
    }
  }
  ran <- attempt(run, 2L, function() describe_call(expressions[[current]], places[[current]]))
  if (is.null(ran$error)) return(invisible())
  missing_package <- inherits(ran$error, "packageNotFoundError")
  report <- report_error(ran$error, ran$stack, if (missing_package) "Runtime.ImportModuleError")
  if (missing_package) report$errorMessage <- sprintf("Unable to import module '%s': %s", name, report$errorMessage)
  stop_loading(report)
}

# The function's `name` as a handler: what to call with event and context, how many calls there are up to what it has
# written itself, and how it looks in a stack trace. NULL if there is no such function.
find_handler <- function(name) {
  found <- get0(name, globalenv(), "function", inherits = FALSE)
  if (is.null(found)) return(NULL)
  parameters <- names(formals(args(found)))
  if (length(parameters) == 1L && parameters != "...") {
    call <- function(event, context) found(event)
    list(name = name, call = call, own_frames = 2L, label = paste0(name, "(event)"))
  } else {
    list(name = name, call = found, own_frames = 1L, label = paste0(name, "(event, context)"))
  }
}

# A handler of a folder that was not deployed.
folder_handler <- function() {
  loaded <- character()
  for (module in c("app", "workload")) {
    path <- file.path(TASK_ROOT, paste0(module, ".R"))
    if (!file.exists(path)) next
    run_file(module, path)
    loaded <- c(loaded, module)
    for (name in c("handler", "handle")) if (!is.null(handler <- find_handler(name))) return(handler)
  }
  if (length(loaded) == 0L) {
    stop_loading(make_report("Runtime.ImportModuleError", "Unable to import module: no app.R and no workload.R"))
  }
  message <- sprintf("Module '%s' has neither handler(event, context) nor handle(event)", loaded[[1L]])
  stop_loading(make_report("Runtime.HandlerNotFound", message))
}

# The one that a deployed function names. Names of R functions may have dots, so the file is the longest that there is.
configured_handler <- function(handler) {
  dots <- rev(gregexpr(".", handler, fixed = TRUE)[[1L]])
  if (dots[[1L]] < 0L) {
    stop_loading(make_report("Runtime.MalformedHandlerName", sprintf("Bad handler '%s': it has no dot", handler)))
  }
  for (dot in dots) {
    module <- substr(handler, 1L, dot - 1L)
    path <- file.path(LAMBDA_TASK_ROOT, paste0(module, ".R"))
    if (!file.exists(path)) next
    run_file(module, path)
    name <- substring(handler, dot + 1L)
    if (!is.null(found <- find_handler(name))) return(found)
    message <- sprintf("Handler '%s' missing on module '%s'", name, module)
    stop_loading(make_report("Runtime.HandlerNotFound", message))
  }
  module <- substr(handler, 1L, dots[[1L]] - 1L)
  message <- sprintf("Unable to import module '%s': there is no file %s.R", module, module)
  stop_loading(make_report("Runtime.ImportModuleError", message))
}

# How a deployed function is to be run; NULL of a mere folder.
read_configuration <- function() {
  path <- file.path(TASK_ROOT, CONFIGURATION)
  if (!file.exists(path)) return(NULL)
  configuration <- tryCatch(
    jsonlite::parse_json(readChar(path, file.size(path), useBytes = TRUE)),
    error = function(error) {
      message <- sprintf("%s cannot be read: %s", CONFIGURATION, readable(conditionMessage(error)))
      stop_loading(make_report("Runtime.InitError", message))
    }
  )
  if (is.null(names(configuration)) || !is.character(configuration[["handler"]])) {
    stop_loading(make_report("Runtime.InitError", paste(CONFIGURATION, "names no handler")))
  }
  configuration
}

set_up_environment <- function(configuration) {
  name <- first_of(configuration[["functionName"]], "function")
  region <- first_of(configuration[["region"]], "us-east-1")
  Sys.setenv(
    "_HANDLER" = configuration[["handler"]],
    AWS_DEFAULT_REGION = region,
    AWS_EXECUTION_ENV = sprintf("AWS_Lambda_R%s.%s", R.version$major, sub("[.].*", "", R.version$minor)),
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE = first_of(configuration[["memorySize"]]),
    AWS_LAMBDA_FUNCTION_NAME = name,
    AWS_LAMBDA_FUNCTION_VERSION = first_of(configuration[["functionVersion"]], "$LATEST"),
    AWS_LAMBDA_LOG_GROUP_NAME = paste0("/aws/lambda/", name),
    AWS_REGION = region,
    LAMBDA_RUNTIME_DIR = RUNTIME_FOLDER,
    LAMBDA_TASK_ROOT = LAMBDA_TASK_ROOT,
    TZ = ":UTC"
  )
  renew_log_stream_name()
  # The function's own go last, so that it may have another time zone.
  own <- configuration[["environment"]]
  if (length(own) == 0L) return(invisible())
  set <- tryCatch(all(do.call(Sys.setenv, own)), error = function(error) FALSE)
  if (!set) stop_loading(make_report("Runtime.InitError", "an environment variable cannot be set"))
}

use_libraries <- function(root) {
  own <- strsplit(Sys.getenv("R_LIBS"), ":", fixed = TRUE)[[1L]]
  found <- Filter(dir.exists, c(own[own != ""], file.path(root, LIBRARY_FOLDERS)))
  if (length(found) > 0L) .libPaths(c(found, .libPaths()))
}

# The handler of a deployed function, or of a folder that was not deployed.
load_deployed <- function(configuration) {
  set_up_environment(configuration)
  setwd(LAMBDA_TASK_ROOT)
  use_libraries(LAMBDA_TASK_ROOT)
  configured_handler(configuration[["handler"]])
}

load_folder <- function() {
  if (dir.exists(TASK_ROOT)) setwd(TASK_ROOT)
  use_libraries(TASK_ROOT)
  folder_handler()
}

# R compiles a function when it is called for the second time: in the snapshot it is compiled already.
compile_functions <- function(environment) {
  for (name in ls(environment, all.names = TRUE)) {
    if (bindingIsActive(name, environment) || bindingIsLocked(name, environment)) next
    value <- get(name, environment)
    if (typeof(value) != "closure") next
    compiled <- tryCatch(compiler::cmpfun(value, list(suppressAll = TRUE)), error = function(error) value)
    assign(name, compiled, environment)
  }
}

bytes_in_use <- function() .C(NATIVE$bytes_in_use, 0)[[1L]]

# Makes as many small objects as R has room for in the pages it holds, and leaves them as garbage. Collected memory has
# holes everywhere, and a request that fills them writes to three times as many pages of the snapshot as one that gets
# new pages. R collects when it has twice as many cells, so the garbage stays for some requests.
fill_holes <- function() {
  count <- 1000L
  template <- vector("list", count)
  fill <- function(size, make) {
    # Until most of what is made needs new memory.
    for (round in seq_len(500L)) {
      before <- bytes_in_use()
      make()
      if (bytes_in_use() - before > 0.75 * count * size) break
    }
  }
  # R keeps vectors of up to 16 words by their size, and everything that is no vector together.
  for (words in c(1L, 2L, 4L, 8L, 16L)) {
    packed <- serialize(rep(list(numeric(words)), count), NULL, xdr = FALSE)
    fill(48 + 8 * words, function() unserialize(packed))
  }
  fill(56, function() as.pairlist(template))
}

# Twice: what the first finds of finalizers and weak references is free after the second.
rest_heap <- function() {
  gc()
  gc()
  .C(NATIVE$trim)
  fill_holes()
}

# The function that answers events, after the agent's `command`.
load_function <- function(command) {
  words <- strsplit(command, " ", fixed = TRUE)[[1L]]
  if (words[[1L]] == "fail") stop_loading(make_report("Runtime.InitError", substring(command, 6L)))
  if (words[[1L]] != "load") give_up(sprintf("the agent said '%s'", substr(command, 1L, 80L)))
  snapshot <- length(words) > 2L
  Sys.setenv(AWS_LAMBDA_INITIALIZATION_TYPE = if (snapshot) "snap-start" else "on-demand")
  reseed(words[[2L]])
  configuration <- read_configuration()
  handler <- if (is.null(configuration)) load_folder() else load_deployed(configuration)
  if (snapshot) {
    compile_functions(globalenv())
    handler <- find_handler(handler$name)
    run_hooks(rev(hooks$before))
    rest_heap()
  }
  force(handler)
  if (is.null(configuration)) {
    function(values) answer(handler, values)
  } else {
    function(values) answer_deployed(handler, values)
  }
}

# Behind the function snapshot.
resume <- function(command) {
  words <- strsplit(command, " ", fixed = TRUE)[[1L]]
  if (words[[1L]] != "resume") give_up(sprintf("the agent said '%s'", substr(command, 1L, 80L)))
  reseed(words[[2L]])
  if (is_deployed()) renew_log_stream_name()
  run_hooks(hooks$after)
}

# Tells the host that the function is of no use; the answer to every event from then on.
report_failure <- function(error) {
  failure <- encode_report(error$report)
  if (is_deployed()) log_report(error$report)
  flush_output()
  write_frame("init-error", failure)
  function(values) list(kind = "error", pieces = failure)
}

# ---- before the snapshot ---------------------------------------------------------------------------------------------

set_up_session <- function() {
  .C(NATIVE$set_up)
  loadNamespace("compiler")
  loadNamespace("jsonlite")
  # Warnings at once: R would keep them until the top level is reached, which is never. Sources are kept for the lines
  # in stack traces.
  options(warn = 1L, keep.source = TRUE)
  offer_hooks()
}

# What many functions do. R's own functions lie packed in files until they are first called: these come out before the
# snapshot. All of R's would take 85 MB.
exercise <- function() {
  text <- "The quick brown fox, the lazy dog: 3.5\n"
  words <- strsplit(tolower(trimws(text)), "[^a-z]+")[[1L]]
  counts <- sort(table(words), decreasing = TRUE)
  utils::head(as.list(counts), 2L)
  as.data.frame(counts, stringsAsFactors = FALSE)
  list(rev(unique(words)), duplicated(words), words %in% "fox", order(words), nchar(words), substr(words, 1L, 2L))
  list(toupper(words), sub("o", "0", words), gsub("o", "0", words), startsWith(words, "t"), endsWith(words, "e"))
  list(regmatches(text, gregexpr("[0-9.]+", text)), regexpr("fox", text, fixed = TRUE), sprintf("%5.2f %s", 1.5, "a"))
  list(format(3.14159, nsmall = 2L), formatC(3.14159, digits = 2L, format = "f"), round(2.5, 1L), signif(2.55, 2L))
  list(format(Sys.time(), "%H:%M"), as.Date("2020-01-02") + 1L, difftime(Sys.time(), Sys.time()), Sys.Date())
  list(as.POSIXct("2020-01-02 03:04:05", tz = "UTC"), strftime(as.POSIXct(0, origin = "1970-01-01"), tz = "UTC"))
  list(chartr("a", "b", words), rawToChar(rev(charToRaw("ab"))), utf8ToInt("a"), strtoi("ff", 16L), toString(1:3))
  list(sapply(1:3, function(x) x), mapply(function(x, y) x + y, 1:3, 1:3), Map(`+`, 1:2, 1:2), Filter(is.na, 1:2))
  list(Reduce(`+`, 1:3, accumulate = TRUE), do.call(rbind, list(1:2, 3:4)), cbind(1:2, 3:4), outer(1:2, 1:2))
  list(tapply(1:4, c(1L, 1L, 2L, 2L), sum), split(1:4, c(1L, 1L, 2L, 2L)), unlist(list(a = 1L, b = list(2L))))
  list(ifelse(TRUE, 1L, 2L), which.max(1:3), cumsum(1:3), diff(1:3), range(1:3), union(1L, 2L), setdiff(1L, 2L))
  list(stats::setNames(1:2, c("a", "b")), utils::modifyList(list(a = 1L), list(b = 2L)), seq(0, 1, 0.5), cut(1:3, 2L))
  matrix <- matrix(c(2, 1, 1, 3), 2L)
  list(matrix %*% solve(matrix), t(matrix), crossprod(matrix), diag(2L), det(matrix), apply(matrix, 1L, sum))
  list(rowSums(matrix), colMeans(matrix), eigen(matrix)$values, svd(matrix)$d, qr(matrix)$rank)
  x <- as.numeric(1:10)
  list(mean(x), stats::median(x), stats::var(x), stats::sd(x), stats::quantile(x), stats::cor(x, rev(x)), summary(x))
  list(stats::runif(2L), stats::rnorm(2L), sample(10L, 2L), scale(x))
  frame <- data.frame(x = x, y = x * 2 + c(0, 1), g = rep(c("a", "b"), 5L))
  model <- stats::lm(y ~ x, frame)
  list(summary(model)$r.squared, stats::coef(model), stats::predict(model, data.frame(x = 11)), stats::residuals(model))
  list(frame[frame$x > 5, ], frame[order(frame$y), "x"], merge(frame[1:2, ], frame[1:2, ], by = "x"), nrow(frame))
  list(stats::aggregate(y ~ g, frame, mean), with(frame, tapply(y, g, mean)), within(frame, z <- x), is.na(frame))
  list(utils::read.csv(text = "a,b\n1,x\n2,y"), utils::capture.output(utils::str(1:3)), utils::tail(x, 2L))
  jsonlite::fromJSON("{\"a\": [1, 2], \"b\": [{\"c\": 1}]}")
  # Of each class once: to find S4's method for a new one writes to 17 MB.
  values <- list(1L, 1, "a", TRUE, NULL, factor("a"), Sys.Date(), Sys.time(), matrix, list(1L), list(a = "a"))
  values$frame <- data.frame(i = 1:2, d = c(1, 2), c = c("a", "b"), l = TRUE, f = factor("a"))
  for (auto_unbox in c(TRUE, FALSE)) jsonlite::toJSON(values, auto_unbox = auto_unbox, digits = NA, null = "null")
  suppressWarnings(as.integer("x"))
  tryCatch(warning("warm"), warning = conditionMessage, finally = suppressMessages(message("warm")))
  try(stop("warm"), silent = TRUE)
  file <- tempfile()
  writeLines(c("a", "b"), file)
  list(readLines(file), basename(file), file.size(file), unlink(file), nchar(Sys.getenv("HOME")), Sys.getpid())
}

FIRST_FUNCTION <- "
register_after_restore(function() NULL)
inner <- function(text) {
  if (text == 'fail') stop('warm')
  if (text == 'wrong') log('a')
  list(text = text, numbers = c(1.5, 2), none = NULL, frame = data.frame(a = 1:2, b = c('x', 'y')), when = Sys.Date())
}
handler <- function(event, context) {
  context$get_remaining_time_in_millis()
  cat('')
  inner(event$text)
}
"

# Runs the code of a first request once, so that its pages and caches are in the snapshot.
warm_up <- function() {
  reseed(strrep("0", 64L))
  exercise()
  file <- tempfile()
  writeLines(FIRST_FUNCTION, file)
  run_file("warm", file)
  tryCatch(run_file("warm", "/dev/null"), error = function(error) NULL)
  unlink(file)
  handler <- find_handler("handler")
  compile_functions(globalenv())
  context <- "{\"functionName\": \"f\", \"requestId\": \"r\", \"deadlineMs\": 1e13, \"memoryLimitInMB\": 128}"
  inbox$has_nul <- FALSE
  for (values in list(jsonlite::parse_json(context), list())) {
    for (event in c("{\"text\": \"a \\\"\\u00e4\", \"l\": [1.5, true, null, {}]}", "{\"text\": \"fail\"}",
                    "{\"text\": \"wrong\"}", "not json")) {
      inbox$payload <- event
      answer(handler, values)
    }
  }
  run_hooks(hooks$after)
  hooks$after <- list()
  read_configuration()
  use_libraries(RUNTIME_FOLDER)
  use_libraries(TASK_ROOT)
  find_handler("handle")
  renew_log_stream_name()
  Sys.unsetenv("AWS_LAMBDA_LOG_STREAM_NAME")
  setwd("/")
  flush_output()
  rm(list = ls(globalenv(), all.names = TRUE), envir = globalenv())
}

main <- function() {
  set_up_session()
  warm_up()
  rest_heap()
  write_control("ready")
  command <- read_control()
  respond <- tryCatch(load_function(command), snapfaas_load_error = function(error) error)
  if (inherits(respond, "snapfaas_load_error")) {
    respond <- report_failure(respond)
    write_control("failed")
  } else {
    flush_output()
    write_control("loaded")
    if (length(strsplit(command, " ", fixed = TRUE)[[1L]]) > 2L) {
      resumed <- tryCatch(resume(read_control()), snapfaas_load_error = function(error) error)
      if (inherits(resumed, "snapfaas_load_error")) respond <- report_failure(resumed)
    }
  }
  serve(respond)
}
