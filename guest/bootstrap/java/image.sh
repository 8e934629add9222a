# Run inside the new root file system when it is built: compiles the bootstrap with the compiler that Debian's JRE holds
# as a module, and makes an archive of the classes that guests use.
set -eu
cd /usr/lib/snapfaas
java=/usr/lib/jvm/java-17-openjdk-amd64/bin/java
lib=/usr/lib/jvm/java-17-openjdk-amd64/lib

compile() {
	"$java" -m jdk.compiler/com.sun.tools.javac.Main -encoding UTF-8 -g -nowarn -proc:none "$@"
}
pack() { # jar, then jar's own arguments; entries have the date that is the first a zip can have
	"$java" -m jdk.jartool/sun.tools.jar.Main --create --date=1980-01-01T00:00:02Z --file "$@"
}

mkdir -p classes
compile --add-exports java.base/jdk.internal.access=ALL-UNNAMED -d classes $(find src -name '*.java' | LC_ALL=C sort)
cat >manifest.mf <<'END'
Main-Class: snapfaas.runtime.Bootstrap
Add-Exports: java.base/jdk.internal.access
Add-Opens: java.base/java.lang java.base/java.util java.base/java.util.concurrent java.base/sun.security.provider
END
pack bootstrap.jar --manifest manifest.mf -C classes .

mkdir -p part
compile -cp bootstrap.jar -sourcepath warm -d warm warm/App.java
mkdir -p warm/lib part/part
mv warm/part/*.class part/part/
pack warm/lib/part.jar -C part .

# The archive is refused where the files that it was made from have another date, and an image's files all have this.
touch -d @0 bootstrap.jar "$lib/modules"
"$java" -XX:DumpLoadedClassList=loaded -Xshare:off \
	--add-opens java.base/java.lang=ALL-UNNAMED --add-opens java.base/java.util=ALL-UNNAMED \
	--add-opens java.base/java.util.concurrent=ALL-UNNAMED --add-opens java.base/sun.security.provider=ALL-UNNAMED \
	-cp bootstrap.jar snapfaas.runtime.Training /usr/lib/snapfaas/warm >/dev/null
# Threads race to load classes; sorted, and at addresses that are always the same, two runs mostly give the same bytes.
{
	grep -v '^[@#]' loaded | LC_ALL=C sort -u
	grep '^@' loaded | LC_ALL=C sort -u
} >sorted
# Only the default collector can put ready-made objects into the archive; the others read them all the same.
setarch -R "$java" @jvm.options -XX:-UseSerialGC -XX:+UseG1GC -XX:SharedClassListFile=sorted \
	-Xshare:dump -cp bootstrap.jar

# What has served its purpose, Debian's own archives, and what javac wants for releases other than this.
rm -rf classes part src warm/part manifest.mf loaded sorted "$lib"/server/classes*.jsa "$lib/ct.sym"
