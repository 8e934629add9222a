# Fits y = intercept + slope * x by R's own lm(), and checks it by the normal equations, a matrix product.

handler <- function(event, context) {
  x <- unlist(event$x)
  y <- unlist(event$y)
  if (length(x) != length(y)) stop("x and y must have the same length")
  model <- lm(y ~ x)
  design <- cbind(1, x)
  normal <- solve(t(design) %*% design, t(design) %*% y)
  list(
    intercept = signif(coef(model)[[1]], 8),
    slope = signif(coef(model)[[2]], 8),
    r_squared = signif(summary(model)$r.squared, 8),
    predictions = I(signif(unname(predict(model, data.frame(x = unlist(event$predict)))), 8)),
    normal_equations_agree = isTRUE(all.equal(unname(coef(model)), as.vector(normal)))
  )
}
