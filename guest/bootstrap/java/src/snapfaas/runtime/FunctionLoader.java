package snapfaas.runtime;

import java.io.File;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.net.MalformedURLException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** The classes of a function: those of its folder, those of lib/*.jar, and what its sources become. */
final class FunctionLoader extends URLClassLoader {
    static final String TASK_ROOT = "/var/task";

    static final String OWN_JAR = "/usr/lib/snapfaas/bootstrap.jar";
    private static final String CONFIGURATION = ".snapfaas/function.json";

    private final Path folder;
    private Map<String, byte[]> compiled;

    FunctionLoader(String folder) throws LoadException {
        super(classPath(folder), FunctionLoader.class.getClassLoader());
        this.folder = Path.of(folder);
    }

    private static URL[] classPath(String folder) throws LoadException {
        List<URL> path = new ArrayList<>();
        try {
            path.add(new URL("file", null, folder + "/"));
            File[] jars = new File(folder, "lib").listFiles();
            if (jars != null) {
                Arrays.sort(jars);
                for (File jar : jars) {
                    if (jar.getName().endsWith(".jar")) {
                        path.add(jar.toURI().toURL());
                    }
                }
            }
        } catch (MalformedURLException impossible) {
            throw new LoadException("Runtime.InitError", impossible.getMessage());
        }
        return path.toArray(new URL[0]);
    }

    /** How a deployed function is to be run; null of a mere folder. */
    Map<?, ?> readConfiguration() throws LoadException {
        Object read;
        try (FileInputStream file = new FileInputStream(new File(folder.toFile(), CONFIGURATION))) {
            read = JsonParser.parse(file.readAllBytes());
        } catch (FileNotFoundException absent) {
            return null;
        } catch (IOException | JsonParser.SyntaxException error) {
            throw new LoadException("Runtime.InitError", CONFIGURATION + " cannot be read: " + error.getMessage());
        }
        if (!(read instanceof Map<?, ?> configuration) || !(configuration.get("handler") instanceof String)) {
            throw new LoadException("Runtime.InitError", CONFIGURATION + " names no handler");
        }
        return configuration;
    }

    /** Null: there is none. Initialises the class. Any error of the function's own may come out. */
    Class<?> find(String name) throws LoadException {
        try {
            return Class.forName(name, true, this);
        } catch (ClassNotFoundException absent) {
            if (compiled != null || !compileSources()) {
                return null;
            }
        }
        return find(name);
    }

    /** False: there is nothing to compile. */
    private boolean compileSources() throws LoadException {
        try {
            List<Path> sources = SourceCompiler.findSources(folder);
            if (sources.isEmpty()) {
                return false;
            }
            compiled = SourceCompiler.compile(folder, sources, compilerPath());
            return true;
        } catch (IOException error) {
            throw new LoadException("Runtime.InitError", "the function's sources cannot be read: "
                + error.getMessage());
        }
    }

    private String compilerPath() {
        StringBuilder path = new StringBuilder(OWN_JAR);
        for (URL url : getURLs()) {
            path.append(File.pathSeparatorChar).append(url.getPath());
        }
        return path.toString();
    }

    @Override
    protected Class<?> findClass(String name) throws ClassNotFoundException {
        byte[] bytes = compiled == null ? null : compiled.get(name);
        return bytes == null ? super.findClass(name) : defineClass(name, bytes, 0, bytes.length);
    }
}
