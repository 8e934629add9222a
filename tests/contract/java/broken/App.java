public class App {
    public Object handler(Object event) {
        return event
    }
}
