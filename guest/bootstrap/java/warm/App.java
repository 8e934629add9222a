import com.amazonaws.services.lambda.runtime.Context;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import part.Part;

/** What the bootstrap runs before the snapshot in place of a function: the things that most functions do. */
public class App {
    public Map<String, Object> handler(Map<String, Object> event, Context context) {
        if (event.containsKey("fail")) {
            throw new IllegalArgumentException("as wanted", new IllegalStateException("a cause"));
        }
        Map<String, Object> answer = new HashMap<>();
        answer.put("n", event.get("n"));
        answer.put("t", context.getRemainingTimeInMillis() + context.getFunctionName());
        List<String> texts = new ArrayList<>(List.of("b", "a", String.valueOf(event.get("s"))));
        texts.sort(String::compareTo);
        answer.put("texts", texts.stream().map(text -> text + 1).collect(Collectors.toList()));
        answer.put("part", new Part("p", 1.5, new int[] {1, 2}));
        return answer;
    }
}
