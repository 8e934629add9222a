stop("cannot be loaded")

handler <- function(event, context) NULL
