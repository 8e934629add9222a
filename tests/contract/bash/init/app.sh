false

handler() {
  echo 1
}
