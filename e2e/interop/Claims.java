import java.io.IOException;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

import com.nimbusds.jwt.SignedJWT;
import okhttp3.FormBody;
import okhttp3.MediaType;
import okhttp3.Request;
import okhttp3.RequestBody;
import org.eclipse.edc.http.spi.EdcHttpClient;
import org.eclipse.edc.iam.decentralizedclaims.spi.verification.VerifierContext;
import org.eclipse.edc.iam.decentralizedclaims.transform.to.JwtToVerifiableCredentialTransformer;
import org.eclipse.edc.iam.decentralizedclaims.transform.to.JwtToVerifiablePresentationTransformer;
import org.eclipse.edc.iam.did.spi.resolution.DidPublicKeyResolver;
import org.eclipse.edc.iam.did.spi.resolution.DidResolverRegistry;
import org.eclipse.edc.iam.verifiablecredentials.VerifiableCredentialValidationServiceImpl;
import org.eclipse.edc.iam.verifiablecredentials.revocation.statuslist2021.StatusList2021RevocationService;
import org.eclipse.edc.iam.verifiablecredentials.spi.model.CredentialFormat;
import org.eclipse.edc.iam.verifiablecredentials.spi.model.Issuer;
import org.eclipse.edc.iam.verifiablecredentials.spi.model.RevocationServiceRegistry;
import org.eclipse.edc.iam.verifiablecredentials.spi.model.VerifiablePresentation;
import org.eclipse.edc.iam.verifiablecredentials.spi.model.VerifiablePresentationContainer;
import org.eclipse.edc.iam.verifiablecredentials.spi.model.revocation.statuslist2021.StatusList2021Status;
import org.eclipse.edc.iam.verifiablecredentials.spi.validation.TrustedIssuerRegistry;
import org.eclipse.edc.jsonld.spi.JsonLd;
import org.eclipse.edc.jwt.validation.jti.JtiValidationStore;
import org.eclipse.edc.protocol.spi.DefaultParticipantIdExtractionFunction;
import org.eclipse.edc.runtime.metamodel.annotation.Inject;
import org.eclipse.edc.runtime.metamodel.annotation.Provider;
import org.eclipse.edc.spi.iam.AudienceResolver;
import org.eclipse.edc.spi.iam.ClaimToken;
import org.eclipse.edc.spi.iam.IdentityService;
import org.eclipse.edc.spi.iam.TokenParameters;
import org.eclipse.edc.spi.iam.TokenRepresentation;
import org.eclipse.edc.spi.iam.VerificationContext;
import org.eclipse.edc.spi.result.Result;
import org.eclipse.edc.spi.system.ServiceExtension;
import org.eclipse.edc.spi.system.ServiceExtensionContext;
import org.eclipse.edc.spi.types.TypeManager;
import org.eclipse.edc.token.rules.AudienceValidationRule;
import org.eclipse.edc.token.rules.ExpirationIssuedAtValidationRule;
import org.eclipse.edc.token.rules.NotBeforeValidationRule;
import org.eclipse.edc.token.spi.TokenValidationRule;
import org.eclipse.edc.token.spi.TokenValidationRulesRegistry;
import org.eclipse.edc.token.spi.TokenValidationService;
import org.eclipse.edc.transform.spi.TypeTransformerRegistry;
import org.eclipse.edc.verifiablecredentials.jwt.JwtPresentationVerifier;
import org.eclipse.edc.verifiablecredentials.jwt.rules.HasSubjectRule;
import org.eclipse.edc.verifiablecredentials.jwt.rules.IssuerEqualsSubjectRule;
import org.eclipse.edc.verifiablecredentials.jwt.rules.IssuerKeyIdValidationRule;
import org.eclipse.edc.verifiablecredentials.jwt.rules.JtiValidationRule;
import org.eclipse.edc.verifiablecredentials.jwt.rules.SubJwkIsNullRule;
import org.eclipse.edc.verifiablecredentials.jwt.rules.TokenNotNullRule;

/**
 * EDC's own checks of tokens, presentations, credentials and status lists, joined to an identity service for its connector. The modules of EDC
 * that join them are not published to the registry; what they check with is, and nothing is checked here but by that. One type of credential, of one
 * issuer, is wanted of everybody. Its own tokens the connector gets from the token service of its wallet.
 */
public class Claims implements ServiceExtension, IdentityService {
    private static final MediaType JSON = MediaType.get("application/json");

    @Inject private TokenValidationService tokens;
    @Inject private TokenValidationRulesRegistry rules;
    @Inject private DidPublicKeyResolver keys;
    @Inject private DidResolverRegistry documents;
    @Inject private RevocationServiceRegistry revocations;
    @Inject private JtiValidationStore used;
    @Inject private TypeTransformerRegistry transformers;
    @Inject private TypeManager types;
    @Inject private JsonLd jsonLd;
    @Inject private EdcHttpClient http;
    @Inject private Clock clock;

    private String did;
    private String tokenService;
    private String secret;
    private String credential;
    private String issuer;
    private List<TokenValidationRule> selfIssued;
    private JwtPresentationVerifier presentations;
    private VerifiableCredentialValidationServiceImpl credentials;

    @Override
    public void initialize(ServiceExtensionContext context) {
        did = context.getSetting("interop.did", "");
        tokenService = context.getSetting("interop.sts", "");
        secret = context.getSetting("interop.secret", "");
        credential = context.getSetting("interop.credential", "");
        issuer = context.getSetting("interop.issuer", "");
        selfIssued = List.of(new IssuerEqualsSubjectRule(), new SubJwkIsNullRule(), new ExpirationIssuedAtValidationRule(clock, 5, false),
                new NotBeforeValidationRule(clock, 4, true), new TokenNotNullRule(), new JtiValidationRule(used, context.getMonitor()));
        rules.addRule(JwtPresentationVerifier.JWT_VC_TOKEN_CONTEXT, new HasSubjectRule());
        transformers.register(new JwtToVerifiablePresentationTransformer(context.getMonitor(), types, "json-ld", jsonLd));
        transformers.register(new JwtToVerifiableCredentialTransformer(context.getMonitor()));
        presentations = new JwtPresentationVerifier(types, "json-ld", tokens, rules, keys);
        revocations.addService(StatusList2021Status.TYPE, new StatusList2021RevocationService(types.getMapper(), 0, List.of("application/json"), http));
        credentials = new VerifiableCredentialValidationServiceImpl(
                (shown, audience) -> VerifierContext.Builder.newInstance().audience(audience).verifier(presentations).build().verify(shown.rawVp()),
                new TrustedIssuerRegistry() {
                    @Override
                    public void register(Issuer one, String type) {
                        throw new UnsupportedOperationException();
                    }

                    @Override
                    public Set<String> getSupportedTypes(Issuer one) {
                        return issuer.equals(one.id()) ? Set.of(credential) : Set.of();
                    }
                }, revocations, clock, types.getMapper());
    }

    @Provider
    public IdentityService identity() {
        return this;
    }

    @Provider
    public AudienceResolver audience() {
        return message -> Result.success(message.getCounterPartyId());
    }

    @Provider
    public DefaultParticipantIdExtractionFunction participant() {
        return claims -> claims.getStringClaim("participant");
    }

    private String scope() {
        return "org.eclipse.edc.vc.type:" + credential + ":read";
    }

    @Override
    public Result<TokenRepresentation> obtainClientCredentials(String context, TokenParameters parameters) {
        return token(parameters.getStringClaim("aud"), "bearer_access_scope", scope())
                .map(token -> TokenRepresentation.Builder.newInstance().token("Bearer " + token).build());
    }

    /** A token of the wallet's token service, which either gives access to us, or carries the access that we were given. */
    private Result<String> token(String audience, String name, String value) {
        var form = new FormBody.Builder().add("grant_type", "client_credentials").add("client_id", did).add("client_secret", secret)
                .add("audience", audience).add(name, value).build();
        return send(new Request.Builder().url(tokenService).post(form).build()).map(answer -> answer.get("access_token").toString());
    }

    private Result<Map<?, ?>> send(Request request) {
        try (var response = http.execute(request)) {
            var body = response.body().string();
            return response.isSuccessful() ? Result.success(types.getMapper().readValue(body, Map.class)) : Result.failure(response.code() + " " + body);
        } catch (IOException e) {
            return Result.failure(e.getMessage());
        }
    }

    @Override
    public Result<ClaimToken> verifyJwtToken(String context, TokenRepresentation sent, VerificationContext verification) {
        if (!sent.getToken().startsWith("Bearer ")) {
            return Result.failure("no bearer token");
        }
        var token = sent.getToken().substring("Bearer ".length());
        var all = new ArrayList<>(selfIssued);
        try {
            all.add(new IssuerKeyIdValidationRule(SignedJWT.parse(token).getHeader().getKeyID()));
        } catch (java.text.ParseException e) {
            return Result.failure(e.getMessage());
        }
        all.add(new AudienceValidationRule(did));
        return tokens.validate(token, keys, all).compose(claims -> {
            var peer = claims.getStringClaim("iss");
            return token(peer, "token", claims.getStringClaim("token"))
                    .compose(own -> presented(peer, own))
                    .compose(shown -> checked(peer, shown));
        });
    }

    private Result<List<VerifiablePresentationContainer>> presented(String peer, String token) {
        return documents.resolve(peer).compose(document -> {
            var service = document.getService().stream().filter(one -> "CredentialService".equals(one.getType())).findFirst();
            if (service.isEmpty()) {
                return Result.failure(peer + " names no credential service");
            }
            var query = "{\"@context\":[\"https://w3id.org/dspace-dcp/v1.0/dcp.jsonld\"],\"type\":\"PresentationQueryMessage\",\"scope\":[\"" + scope() + "\"]}";
            return send(new Request.Builder().url(service.get().getServiceEndpoint() + "/presentations/query").header("Authorization", "Bearer " + token)
                    .post(RequestBody.create(query, JSON)).build());
        }).compose(answer -> {
            var out = new ArrayList<VerifiablePresentationContainer>();
            for (var one : (List<?>) answer.get("presentation")) {
                var read = transformers.transform(one.toString(), VerifiablePresentation.class);
                if (read.failed()) {
                    return read.mapFailure();
                }
                out.add(new VerifiablePresentationContainer(one.toString(), CredentialFormat.VC1_0_JWT, read.getContent()));
            }
            return Result.success(out);
        });
    }

    private Result<ClaimToken> checked(String peer, List<VerifiablePresentationContainer> shown) {
        return credentials.validate(shown, did, List.of()).compose(ok -> {
            var all = shown.stream().map(VerifiablePresentationContainer::presentation).toList();
            if (!all.stream().allMatch(one -> peer.equals(one.getHolder()))) {
                return Result.failure("a presentation is not of " + peer);
            }
            if (all.stream().flatMap(one -> one.getCredentials().stream()).noneMatch(one -> one.getType().contains(credential))) {
                return Result.failure("there is no " + credential);
            }
            return Result.success(ClaimToken.Builder.newInstance().claim("participant", peer).build());
        });
    }
}
