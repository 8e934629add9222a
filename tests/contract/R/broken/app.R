handler <- function(event, context) {
  list(1, 2
}
