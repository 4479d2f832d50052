import java.io.FileReader;
import java.util.HashMap;
import java.util.Properties;
import java.util.regex.Pattern;

import org.eclipse.dataspacetck.core.system.ConsoleMonitor;
import org.eclipse.dataspacetck.dcp.system.DcpSystemLauncher;
import org.eclipse.dataspacetck.runtime.TckRuntime;

/** Runs the kit's cases of the named packages with the settings of a file, those whose name matches if a pattern is given, and ends with 1 when one failed. */
public class Kit {
    public static void main(String[] args) throws Exception {
        var file = new Properties();
        try (var reader = new FileReader(args[0])) {
            file.load(reader);
        }
        var settings = new HashMap<String, String>();
        file.forEach((name, value) -> settings.put(name.toString(), value.toString()));
        var kit = TckRuntime.Builder.newInstance().properties(settings).launcher(DcpSystemLauncher.class).monitor(new ConsoleMonitor(false, false));
        for (var name : args[1].split(",")) {
            kit.addPackage("org.eclipse.dataspacetck.dcp.verification." + name);
        }
        if (args.length > 2) {
            var wanted = Pattern.compile(args[2]);
            kit.displayNameMatching(name -> wanted.matcher(name).find());
        }
        var result = kit.build().execute();
        result.getFailures().forEach(failure ->
            System.out.println("FAILED: " + failure.getTestIdentifier().getDisplayName() + ": " + failure.getException()));
        System.out.println(result.getTestsSucceededCount() + " passed, " + result.getTestsFailedCount() + " failed");
        System.exit(result.getTotalFailureCount() == 0 ? 0 : 1);
    }
}
