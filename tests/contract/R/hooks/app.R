steps <- list()

register_before_snapshot(function() steps[[length(steps) + 1]] <<- "before")
register_after_restore(function() steps[[length(steps) + 1]] <<- "after")

# R has no source of secure random numbers but the system's own.
secure_uuid <- function() {
  device <- file("/dev/urandom", "rb", raw = TRUE)
  on.exit(close(device))
  paste(as.character(readBin(device, "raw", 16)), collapse = "")
}

handler <- function(event, context) {
  list(
    hooks = steps,
    random = runif(1),
    uuid = secure_uuid(),
    boot = readLines("/proc/sys/kernel/random/boot_id")
  )
}
