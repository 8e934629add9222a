import com.amazonaws.services.lambda.runtime.Context;
import java.io.IOException;
import java.io.StringReader;
import java.math.BigDecimal;
import java.util.Map;
import java.util.TreeMap;
import org.apache.commons.csv.CSVFormat;
import org.apache.commons.csv.CSVRecord;

/** A function that sums up a table: {"csv": "<text with a header>", "group": "<column>", "sum": "<column>"}. */
public class App {
    public record Request(String csv, String group, String sum) {}

    public record Group(int count, BigDecimal sum) {
        Group plus(BigDecimal value) {
            return new Group(count + 1, sum.add(value));
        }
    }

    private static final CSVFormat FORMAT =
        CSVFormat.DEFAULT.builder().setHeader().setSkipHeaderRecord(true).setTrim(true).build();

    public Map<String, Group> handler(Request request, Context context) throws IOException {
        Map<String, Group> groups = new TreeMap<>();
        for (CSVRecord row : FORMAT.parse(new StringReader(request.csv()))) {
            BigDecimal value = new BigDecimal(row.get(request.sum()));
            groups.put(row.get(request.group()),
                       groups.getOrDefault(row.get(request.group()), new Group(0, BigDecimal.ZERO)).plus(value));
        }
        return groups;
    }
}
