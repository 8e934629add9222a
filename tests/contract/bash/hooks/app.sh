called=()

note() {
  called+=("\"$1\"")
}

register_before_snapshot note before
register_after_restore note after

handler() {
  local boot IFS=,
  read -r boot </proc/sys/kernel/random/boot_id
  printf '{"hooks":[%s],"random":%s,"uuid":"%08x%08x","boot":"%s"}' "${called[*]}" "1$RANDOM$RANDOM$RANDOM" \
    "$SRANDOM" "$SRANDOM" "$boot"
}
