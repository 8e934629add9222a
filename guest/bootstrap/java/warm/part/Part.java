package part;

/** A class of the jar. */
public class Part {
    private final String name;
    private final double weight;
    private final int[] values;

    public Part(String name, double weight, int[] values) {
        this.name = name;
        this.weight = weight;
        this.values = values;
    }

    public String getName() {
        return name;
    }

    public double getWeight() {
        return weight;
    }

    public int[] getValues() {
        return values;
    }
}
