public class App {
    static {
        if (true) {
            throw new IllegalStateException("wanted: \u00e4");
        }
    }

    public Object handler(Object event) {
        return event;
    }
}
