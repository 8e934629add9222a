# Loads the bootstrap as image.sh has compiled it, out of sight of the functions' own names.
local({
  bootstrap <- new.env(parent = baseenv())
  compiler::loadcmp("/usr/lib/snapfaas/bootstrap.Rc", bootstrap)
  bootstrap$main()
})
