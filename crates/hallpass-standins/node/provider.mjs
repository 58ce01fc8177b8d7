// oidc-provider on loopback, for tests: people sign in by a cookie, and keys rotate on demand.
import { createServer } from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const { OIDC_PROVIDER, PORT, PEOPLE, AUDIENCE } = process.env;
const { Provider, errors } = await import(pathToFileURL(OIDC_PROVIDER).href);
const issuer = `http://127.0.0.1:${PORT}`;
// Name to { groups, name, email }; whoever is not in it does not exist.
let people = JSON.parse(PEOPLE);
// Kept here, and not by the provider, because a rotation makes a new one.
const artifacts = new Map();

class Memory {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload) { artifacts.set(this.key(id), payload); }
  async find(id) { return artifacts.get(this.key(id)); }
  async findBy(field, value) {
    const ours = [...artifacts].filter(([key]) => key.startsWith(`${this.model}:`));
    return ours.find(([, payload]) => payload[field] === value)?.[1];
  }
  findByUserCode(userCode) { return this.findBy('userCode', userCode); }
  findByUid(uid) { return this.findBy('uid', uid); }
  async consume(id) { (await this.find(id)).consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { artifacts.delete(this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const [key, payload] of artifacts) {
      if (payload.grantId === grantId) artifacts.delete(key);
    }
  }
}

function newKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = privateKey.export({ format: 'jwk' });
  return { ...jwk, kid: crypto.randomUUID(), alg: 'ES256', use: 'sig' };
}

function signedInAt(ctx) {
  const { AuthorizationCode, DeviceCode, RefreshToken } = ctx.oidc.entities;
  return (RefreshToken ?? AuthorizationCode ?? DeviceCode)?.authTime;
}

function make() {
  const made = new Provider(issuer, {
    adapter: Memory,
    jwks: { keys },
    cookies: { keys: ['test'] },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    claims: {
      openid: ['sub'],
      profile: ['name'],
      email: ['email'],
      groups: ['groups', 'amr'],
      auth_time: null,
    },
    conformIdTokenClaims: false,
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    clients: [
      {
        client_id: 'hallpass-cli',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1/callback'],
        response_types: ['code'],
        grant_types: [
          'authorization_code',
          'refresh_token',
          'urn:ietf:params:oauth:grant-type:device_code',
        ],
      },
      {
        client_id: 'hallpass-decisions',
        application_type: 'native',
        token_endpoint_auth_method: 'none',
        redirect_uris: ['http://127.0.0.1/callback'],
        response_types: ['code'],
        grant_types: ['authorization_code'],
      },
      {
        client_id: 'deploy-bot',
        client_secret: 'deploy-bot-secret',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
      {
        client_id: 'hallpass-server',
        client_secret: 'hallpass-server-secret',
        grant_types: [],
        redirect_uris: [],
        response_types: [],
      },
    ],
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, resource) => {
          if (resource !== AUDIENCE && resource !== `${AUDIENCE}:opaque`) {
            throw new errors.InvalidTarget();
          }
          const opaque = resource !== AUDIENCE;
          return {
            scope: 'groups',
            audience: resource,
            accessTokenFormat: opaque ? 'opaque' : 'jwt',
            accessTokenTTL: 300,
            ...(opaque ? {} : { jwt: { sign: { alg: 'ES256' } } }),
          };
        },
      },
    },
    ttl: {
      AccessToken: 300,
      ClientCredentials: 300,
      DeviceCode: 600,
      Grant: 3600,
      IdToken: 300,
      Interaction: 600,
      RefreshToken: 3600,
      Session: 3600,
    },
    rotateRefreshToken: true,
    interactions: { url: (_ctx, interaction) => `/sign-in/${interaction.uid}` },
    extraTokenClaims: (ctx, token) => {
      if (!token.accountId) return { groups: ['pipelines'] };
      const person = people[token.accountId];
      return {
        groups: person?.groups ?? [],
        name: person?.name,
        email: person?.email,
        amr: ['pwd', 'mfa'],
        auth_time: signedInAt(ctx),
      };
    },
    findAccount: (_ctx, id) => people[id] && {
      accountId: id,
      claims: () => ({ sub: id, ...people[id] }),
    },
  });
  made.on('server_error', (_ctx, error) => console.error(error));
  return made;
}

// Signs in whom the cookie `person` names and consents to all that was asked, in one step.
async function signIn(request, response) {
  const cookies = request.headers.cookie ?? '';
  const person = /(?:^|; )person=([^;]+)/.exec(cookies)?.[1];
  const { prompt, params, grantId } = await provider.interactionDetails(request, response);
  if (!people[person]) {
    const refused = { error: 'access_denied', error_description: 'nobody signed in' };
    return provider.interactionFinished(request, response, refused);
  }
  const result = {};
  if (prompt.name === 'login') {
    result.login = { accountId: person, amr: ['pwd', 'mfa'] };
  } else {
    const grant = grantId
      ? await provider.Grant.find(grantId)
      : new provider.Grant({ accountId: person, clientId: params.client_id });
    const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
    if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(' '));
    if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
    for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
      grant.addResourceScope(resource, scopes.join(' '));
    }
    result.consent = { grantId: await grant.save() };
  }
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

async function body(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}

// What a test does to the provider while it runs.
async function control(request, response) {
  if (request.url === '/control/rotate') {
    keys = [newKey(), ...keys.slice(0, 1)];
  } else if (request.url === '/control/replace-keys') {
    keys = [newKey()];
  } else if (request.url === '/control/people') {
    people = JSON.parse(await body(request));
  } else {
    response.statusCode = 404;
  }
  provider = make();
  response.end();
}

let keys = [newKey()];
let provider = make();

createServer(async (request, response) => {
  try {
    if (request.url === '/ready') return response.end('ready');
    if (request.url.startsWith('/control/')) return await control(request, response);
    if (request.url.startsWith('/sign-in/')) return await signIn(request, response);
    return await provider.callback()(request, response);
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    return response.end();
  }
}).listen(Number(PORT), '127.0.0.1');
