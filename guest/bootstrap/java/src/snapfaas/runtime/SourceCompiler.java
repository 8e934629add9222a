package snapfaas.runtime;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.StringWriter;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.ToolProvider;

/** Compiles the sources of a function that has no classes, into memory. */
final class SourceCompiler {
    private static final String SUFFIX = ".java";

    private SourceCompiler() {}

    /** The sources of `folder`, in an order that is always the same: below src/main/java where that is there. */
    static List<Path> findSources(Path folder) throws IOException {
        Path main = folder.resolve("src/main/java");
        Path root = Files.isDirectory(main) ? main : folder;
        List<Path> sources = new ArrayList<>();
        Files.walkFileTree(root, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult preVisitDirectory(Path each, BasicFileAttributes attributes) {
                boolean isHidden = !each.equals(root) && each.getFileName().toString().startsWith(".");
                return isHidden ? FileVisitResult.SKIP_SUBTREE : FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFile(Path each, BasicFileAttributes attributes) {
                if (attributes.isRegularFile() && each.getFileName().toString().endsWith(SUFFIX)) {
                    sources.add(each);
                }
                return FileVisitResult.CONTINUE;
            }
        });
        Collections.sort(sources);
        return sources;
    }

    /** The classes by their names. */
    static Map<String, byte[]> compile(Path folder, List<Path> sources, String classPath)
        throws LoadException, IOException {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        DiagnosticCollector<JavaFileObject> diagnostics = new DiagnosticCollector<>();
        StringWriter other = new StringWriter();
        // No annotation processors: they would be code of the function that runs before its time.
        List<String> options = List.of("-proc:none", "-nowarn", "-g", "-parameters", "-encoding", "UTF-8", "-cp",
            classPath);
        try (var standard = compiler.getStandardFileManager(diagnostics, Locale.ROOT, StandardCharsets.UTF_8);
             var files = new MemoryFileManager(standard)) {
            var units = standard.getJavaFileObjectsFromPaths(sources);
            if (compiler.getTask(other, files, diagnostics, options, null, units).call()) {
                return files.takeClasses();
            }
        }
        throw new LoadException(reportOf(folder, diagnostics.getDiagnostics(), other.toString()));
    }

    private static Report reportOf(Path folder, List<Diagnostic<? extends JavaFileObject>> diagnostics, String other) {
        List<String> lines = new ArrayList<>();
        String first = null;
        for (Diagnostic<? extends JavaFileObject> each : diagnostics) {
            if (each.getKind() != Diagnostic.Kind.ERROR) {
                continue;
            }
            JavaFileObject source = each.getSource();
            String file = source == null ? "?" : folder.relativize(Path.of(source.toUri())).toString();
            String message = each.getMessage(Locale.ROOT);
            lines.add(file + ":" + each.getLineNumber() + ": error: " + message);
            if (first == null) {
                first = "Syntax error in '" + file + "', line " + each.getLineNumber() + ": " + message;
            }
        }
        String message = first != null ? first : "The sources cannot be compiled: " + other;
        return new Report("Runtime.UserCodeSyntaxError", message, "").withStack(lines);
    }

    private static final class MemoryFileManager extends ForwardingJavaFileManager<JavaFileManager> {
        private final Map<String, ByteArrayOutputStream> classes = new HashMap<>();

        MemoryFileManager(JavaFileManager standard) {
            super(standard);
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location location, String name, JavaFileObject.Kind kind,
            FileObject near) {
            return new SimpleJavaFileObject(URI.create("memory:///" + name.replace('.', '/') + kind.extension), kind) {
                @Override
                public OutputStream openOutputStream() {
                    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
                    classes.put(name, bytes);
                    return bytes;
                }
            };
        }

        Map<String, byte[]> takeClasses() {
            Map<String, byte[]> taken = new HashMap<>();
            for (Map.Entry<String, ByteArrayOutputStream> entry : classes.entrySet()) {
                taken.put(entry.getKey(), entry.getValue().toByteArray());
            }
            return taken;
        }
    }
}
