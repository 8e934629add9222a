public class App {
    public Object other(Object event) {
        return event;
    }
}
