import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

import org.eclipse.edc.identityhub.spi.authentication.ServicePrincipal;
import org.eclipse.edc.identityhub.spi.participantcontext.ParticipantContextService;
import org.eclipse.edc.identityhub.spi.participantcontext.model.KeyDescriptor;
import org.eclipse.edc.identityhub.spi.participantcontext.model.ParticipantManifest;
import org.eclipse.edc.runtime.metamodel.annotation.Inject;
import org.eclipse.edc.spi.system.ServiceExtension;
import org.eclipse.edc.spi.system.ServiceExtensionContext;

/**
 * What an operator of IdentityHub brings along: its first administrator, whom no release makes. His key is left in a file.
 */
public class Hub implements ServiceExtension {
    private static final String ADMINISTRATOR = "administrator";

    @Inject private ParticipantContextService participants;
    private Path file;

    @Override
    public void initialize(ServiceExtensionContext context) {
        file = Path.of(context.getSetting("interop.key", "administrator.key"));
    }

    @Override
    public void start() {
        var manifest = ParticipantManifest.Builder.newInstance()
                .participantContextId(ADMINISTRATOR)
                .did("did:web:" + ADMINISTRATOR)
                .active(true)
                .roles(List.of(ServicePrincipal.ROLE_ADMIN))
                .key(KeyDescriptor.Builder.newInstance()
                        .keyId(ADMINISTRATOR + "-key")
                        .privateKeyAlias(ADMINISTRATOR + "-key")
                        .keyGeneratorParams(Map.of("algorithm", "EC", "curve", "secp256r1"))
                        .build())
                .build();
        var made = participants.createParticipantContext(manifest);
        if (made.failed()) {
            throw new RuntimeException(made.getFailureDetail());
        }
        try {
            Files.writeString(file, made.getContent().apiKey());
        } catch (java.io.IOException e) {
            throw new RuntimeException(e);
        }
    }
}
