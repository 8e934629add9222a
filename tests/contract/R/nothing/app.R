answer <- function(event, context) NULL
