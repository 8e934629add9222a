import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Base64;
import javax.imageio.ImageIO;

/** A function that makes an image smaller: {"image": "<base64>", "width": 64}, for what javax.imageio reads. */
public class App implements RequestHandler<App.Request, App.Thumbnail> {
    public record Request(String image, int width) {}

    public record Thumbnail(int width, int height, String mean, String png) {}

    private static final int MOST_PIXELS = 4096;

    static {
        ImageIO.setUseCache(false);
    }

    @Override
    public Thumbnail handleRequest(Request request, Context context) {
        if (request.width() < 1 || request.width() > MOST_PIXELS) {
            throw new IllegalArgumentException("width must be a number from 1 to " + MOST_PIXELS);
        }
        try {
            BufferedImage image = ImageIO.read(new ByteArrayInputStream(Base64.getDecoder().decode(request.image())));
            if (image == null) {
                throw new IllegalArgumentException("this is no image of a known format");
            }
            BufferedImage small = scale(image, request.width());
            ByteArrayOutputStream png = new ByteArrayOutputStream();
            ImageIO.write(small, "png", png);
            String text = Base64.getEncoder().encodeToString(png.toByteArray());
            return new Thumbnail(small.getWidth(), small.getHeight(), mean(small), text);
        } catch (IOException broken) {
            throw new UncheckedIOException(broken);
        }
    }

    private static BufferedImage scale(BufferedImage image, int width) {
        int height = Math.max(1, Math.round((float) image.getHeight() * width / image.getWidth()));
        BufferedImage small = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = small.createGraphics();
        graphics.setRenderingHint(RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BILINEAR);
        graphics.drawImage(image, 0, 0, width, height, null);
        graphics.dispose();
        return small;
    }

    /** The mean colour. */
    private static String mean(BufferedImage image) {
        long red = 0;
        long green = 0;
        long blue = 0;
        for (int y = 0; y < image.getHeight(); y++) {
            for (int x = 0; x < image.getWidth(); x++) {
                int colour = image.getRGB(x, y);
                red += colour >> 16 & 255;
                green += colour >> 8 & 255;
                blue += colour & 255;
            }
        }
        long count = (long) image.getWidth() * image.getHeight();
        return String.format("#%02x%02x%02x", red / count, green / count, blue / count);
    }
}
