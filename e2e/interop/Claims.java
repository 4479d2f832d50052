import java.io.IOException;
import java.util.List;
import java.util.Map;

import okhttp3.FormBody;
import okhttp3.Request;
import org.eclipse.edc.http.spi.EdcHttpClient;
import org.eclipse.edc.iam.decentralizedclaims.spi.SecureTokenService;
import org.eclipse.edc.policy.context.request.spi.RequestCatalogPolicyContext;
import org.eclipse.edc.policy.context.request.spi.RequestContractNegotiationPolicyContext;
import org.eclipse.edc.policy.context.request.spi.RequestPolicyContext;
import org.eclipse.edc.policy.context.request.spi.RequestTransferProcessPolicyContext;
import org.eclipse.edc.policy.engine.spi.PolicyEngine;
import org.eclipse.edc.runtime.metamodel.annotation.Inject;
import org.eclipse.edc.runtime.metamodel.annotation.Provider;
import org.eclipse.edc.spi.iam.TokenRepresentation;
import org.eclipse.edc.spi.result.Result;
import org.eclipse.edc.spi.system.ServiceExtension;
import org.eclipse.edc.spi.system.ServiceExtensionContext;
import org.eclipse.edc.spi.types.TypeManager;

/**
 * What an operator of EDC's connector brings along for its identity: which credentials are wanted of everybody, and shown to everybody, and the way
 * to the token service of its wallet, since EDC's own client of one is not published. EDC does the rest: nothing is checked here.
 */
public class Claims implements ServiceExtension, SecureTokenService {
    @Inject private PolicyEngine engine;
    @Inject private EdcHttpClient http;
    @Inject private TypeManager types;

    private String did;
    private String address;
    private String secret;
    private List<String> scopes;

    @Override
    public void initialize(ServiceExtensionContext context) {
        did = context.getSetting("interop.did", "");
        address = context.getSetting("interop.sts", "");
        secret = context.getSetting("interop.secret", "");
        scopes = List.of(context.getSetting("interop.scopes", "").split(" "));
        engine.registerPostValidator(RequestCatalogPolicyContext.class, (policy, request) -> wanted(request));
        engine.registerPostValidator(RequestContractNegotiationPolicyContext.class, (policy, request) -> wanted(request));
        engine.registerPostValidator(RequestTransferProcessPolicyContext.class, (policy, request) -> wanted(request));
    }

    private boolean wanted(RequestPolicyContext request) {
        request.requestScopeBuilder().scopes(scopes);
        return true;
    }

    @Provider
    public SecureTokenService tokens() {
        return this;
    }

    @Override
    public Result<TokenRepresentation> createToken(String context, Map<String, Object> claims, String scope) {
        var form = new FormBody.Builder().add("grant_type", "client_credentials").add("client_id", did).add("client_secret", secret).add("audience", claims.get("aud").toString());
        if (scope != null) {
            form.add("bearer_access_scope", scope);
        }
        if (claims.get("token") != null) {
            form.add("token", claims.get("token").toString());
        }
        try (var response = http.execute(new Request.Builder().url(address).post(form.build()).build())) {
            var body = response.body().string();
            if (!response.isSuccessful()) {
                return Result.failure(response.code() + " " + body);
            }
            var token = types.getMapper().readValue(body, Map.class).get("access_token").toString();
            return Result.success(TokenRepresentation.Builder.newInstance().token(token).build());
        } catch (IOException e) {
            return Result.failure(e.getMessage());
        }
    }
}
