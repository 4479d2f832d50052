import java.nio.file.Files;
import java.nio.file.Path;

import org.eclipse.edc.connector.controlplane.contract.spi.policy.ContractNegotiationPolicyContext;
import org.eclipse.edc.policy.engine.spi.PolicyEngine;
import org.eclipse.edc.policy.engine.spi.RuleBindingRegistry;
import org.eclipse.edc.policy.model.Permission;
import org.eclipse.edc.runtime.metamodel.annotation.Inject;
import org.eclipse.edc.spi.security.Vault;
import org.eclipse.edc.spi.system.ServiceExtension;
import org.eclipse.edc.spi.system.ServiceExtensionContext;

/**
 * What an operator of EDC brings along: the keys that sign its access tokens, and code for the terms of its policies. EDC drops a term that no
 * code is bound to. Here every peer is a member, and none has signed the framework agreement.
 */
public class Peer implements ServiceExtension {
    @Inject private Vault vault;
    @Inject private PolicyEngine engine;
    @Inject private RuleBindingRegistry bindings;

    @Override
    public void initialize(ServiceExtensionContext context) {
        try {
            for (var name : new String[] {"private-key", "public-key"}) {
                vault.storeSecret(name, Files.readString(Path.of(context.getSetting("interop.keys", "."), name)));
            }
        } catch (java.io.IOException e) {
            throw new RuntimeException(e);
        }
        bindings.bind("http://www.w3.org/ns/odrl/2/use", PolicyEngine.ALL_SCOPES);
        for (var prefix : new String[] {"", "https://w3id.org/catenax/2025/9/policy/"}) {
            term(prefix + "Membership", true);
            term(prefix + "FrameworkAgreement", false);
        }
    }

    private void term(String name, boolean met) {
        bindings.bind(name, ContractNegotiationPolicyContext.NEGOTIATION_SCOPE);
        engine.registerFunction(ContractNegotiationPolicyContext.class, Permission.class, name, (operator, value, rule, context) -> {
            if (!met) {
                context.reportProblem(name + " is not signed");
            }
            return met;
        });
    }
}
