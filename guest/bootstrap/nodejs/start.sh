# Starts the bootstrap with a heap that fits the microVM: left alone, V8 takes a part of the memory only. Its memory
# reducer would go through the whole heap seconds after the restore, and so copy what is shared with the snapshot.
while read -r name kib _; do
	[ "$name" = MemTotal: ] && break
done </proc/meminfo
exec /usr/bin/node "--max-old-space-size=$((kib * 3 / 4 / 1024))" --no-memory-reducer /usr/lib/snapfaas/bootstrap.js
