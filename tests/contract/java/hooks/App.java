import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import snapfaas.Snapshot;

public class App {
    private static final List<String> HOOKS = new ArrayList<>();

    static {
        Snapshot.beforeSnapshot(() -> HOOKS.add("before"));
        Snapshot.afterRestore(() -> HOOKS.add("after"));
    }

    public Map<String, Object> handler(Object event) throws IOException {
        return Map.of("hooks", HOOKS, "random", Math.random(), "uuid", UUID.randomUUID().toString(),
                      "boot", Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip());
    }
}
