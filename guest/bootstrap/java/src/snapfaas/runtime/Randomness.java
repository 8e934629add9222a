package snapfaas.runtime;

import java.lang.reflect.Field;
import java.math.BigInteger;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.SplittableRandom;
import java.util.UUID;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Every generator that was seeded before a snapshot would give the same numbers in each microVM of it. The JDK's own
 * are given new seeds through fields that are found before the snapshot. Left alone: generators that a function has
 * made with a seed, and the order of Set.of and Map.of, which hangs on a number that sets made earlier depend on.
 */
final class Randomness {
    /**
     * First of all: where the class behind it is loaded before the list of providers, as by the next lines, the JDK
     * takes it for missing, and makes SecureRandom a generator that is seeded only once.
     */
    private static final String SECURE_ALGORITHM = new SecureRandom().getAlgorithm();

    /** What all SecureRandom objects of the system's source share: it holds bytes that were read ahead. */
    private static final Object[] SECURE = {
        read("sun.security.provider.NativePRNG", "INSTANCE"),
        read("sun.security.provider.NativePRNG$Blocking", "INSTANCE"),
        read("sun.security.provider.NativePRNG$NonBlocking", "INSTANCE"),
    };

    private static final Field READ_AHEAD = field("sun.security.provider.NativePRNG$RandomIO", "buffered");
    private static final Random MATH = (Random) read("java.lang.Math$RandomNumberGeneratorHolder",
        "randomNumberGenerator");
    private static final Random STRICT_MATH =
        (Random) read("java.lang.StrictMath$RandomNumberGeneratorHolder", "randomNumberGenerator");
    private static final AtomicLong SEED_OF_RANDOM = (AtomicLong) read("java.util.Random", "seedUniquifier");
    private static final AtomicLong SEED_OF_THREADS = (AtomicLong) read("java.util.concurrent.ThreadLocalRandom",
        "seeder");
    private static final AtomicLong SEED_OF_SPLITTABLE = (AtomicLong) read("java.util.SplittableRandom", "defaultGen");
    private static final Field THREAD_SEED = field("java.lang.Thread", "threadLocalRandomSeed");
    private static final Field SHUFFLE = field("java.util.Collections", "r");

    private Randomness() {}

    private static Field field(String type, String name) {
        try {
            Field field = Class.forName(type).getDeclaredField(name);
            field.setAccessible(true);
            return field;
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    private static Object read(String type, String name) {
        try {
            return field(type, name).get(null);
        } catch (IllegalAccessException error) {
            throw new IllegalStateException(error);
        }
    }

    /** `seed`: 64 hexadecimal digits. */
    static void reseed(String seed) {
        try {
            for (Object source : SECURE) {
                READ_AHEAD.setInt(source, 0);
            }
            reseedPlain(seed);
        } catch (IllegalAccessException error) {
            throw new IllegalStateException(error);
        }
    }

    private static void reseedPlain(String seed) throws IllegalAccessException {
        BigInteger number = new BigInteger(seed, 16);
        long[] parts = new long[4];
        for (int i = 0; i < parts.length; i++) {
            parts[i] = number.shiftRight(Long.SIZE * i).longValue();
        }
        MATH.setSeed(parts[0]);
        STRICT_MATH.setSeed(parts[0] ^ parts[1]);
        SEED_OF_RANDOM.set(parts[1] | 1);  // it goes on by multiplication
        SEED_OF_THREADS.set(parts[2]);
        SEED_OF_SPLITTABLE.set(parts[3]);
        reseedThreads(parts[2] ^ parts[3]);
        if (SHUFFLE.get(null) instanceof Random random) {
            random.setSeed(parts[0] ^ parts[3]);
        }
    }

    private static void reseedThreads(long seed) throws IllegalAccessException {
        ThreadGroup all = Thread.currentThread().getThreadGroup();
        while (all.getParent() != null) {
            all = all.getParent();
        }
        Thread[] threads = new Thread[all.activeCount() + 16];
        int count = all.enumerate(threads);
        SplittableRandom seeds = new SplittableRandom(seed);
        for (int i = 0; i < count; i++) {
            THREAD_SEED.setLong(threads[i], seeds.nextLong());
        }
    }

    static void warmUp() {
        if (!SECURE_ALGORITHM.equals("NativePRNG")) {
            throw new IllegalStateException("SecureRandom is " + SECURE_ALGORITHM + ", which a snapshot would repeat");
        }
        reseed("1".repeat(64));
        Math.random();
        ThreadLocalRandom.current().nextInt();
        new Random().nextInt();
        Collections.shuffle(new ArrayList<>(List.of(1, 2, 3)));
        UUID.randomUUID();
    }
}
