/** nginx.conf for affinity and for plain balancing. */
import { type BalancedServer, type BalancerOptions, type BalancerPlan, planOf } from './options.ts'

export interface NginxOptions extends BalancerOptions {
  /** `sticky`: nginx 1.29.6 and later. `map` (default): every version. */
  readonly form?: 'map' | 'sticky'
}

/** Up to this many servers each pair of owner and backup gets a group; with more, each owner does, and any other server is its backup. */
const PAIRS_MAX = 8

/** A server that refuses or breaks a connection is passed over for so long. */
const CHECKS = 'max_fails=1 fail_timeout=2s'

export function nginxConfig(options: NginxOptions): string {
  const plan = planOf(options)
  const form = options.form ?? 'map'
  return `# nginx in front of ${plan.servers.length} servers: ${plan.policy}. Made by: holdfast balancer nginx
worker_processes auto;

events {
    worker_connections 4096;
}

http {
    access_log off;  # or a file of yours
    server_tokens off;

    # WebSockets keep their upgrade, everything else its connection to the server.
    map $http_upgrade $holdfast_connection {
        default upgrade;
        ""      "";
    }

${groups(plan, form)}

    server {
        listen ${plan.host === undefined ? '' : `${plan.host}:`}${plan.port};

        location / {
            proxy_pass http://${plan.policy === 'affinity' && form === 'map' ? '$holdfast_group' : 'holdfast'};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $holdfast_connection;
            # What a client claims to have been forwarded for is dropped. Behind another proxy of yours: see ngx_http_realip_module.
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;

            # A server that cannot be reached is passed over at once. Requests that may have taken effect (POST, PATCH …) are not sent twice.
            proxy_connect_timeout 1s;
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries 3;
            proxy_next_upstream_timeout 5s;
            proxy_buffering off;
            proxy_read_timeout 60s;
        }
    }
}
`
}

function groups(plan: BalancerPlan, form: 'map' | 'sticky'): string {
  switch (plan.policy) {
    case 'affinity':
      return form === 'sticky' ? stickyGroup(plan) : mappedGroups(plan)
    case 'hash':
      return hashGroup(plan)
    case 'least-connections':
      return group('holdfast', ['zone holdfast 256k;', 'least_conn;', ...plan.servers.map((one) => server(one))])
    case 'round-robin':
      return group('holdfast', ['zone holdfast 256k;', ...plan.servers.map((one) => server(one))])
  }
}

/**
 * `keepalive` has to come last in a group. Node closes a connection after 5 idle seconds: nginx has to be quicker, or a POST may meet a
 * connection that is just being closed, and fail.
 */
function group(name: string, lines: readonly string[]): string {
  return `    upstream ${name} {\n${[...lines, 'keepalive 32;', 'keepalive_timeout 4s;'].map((line) => `        ${line}\n`).join('')}    }`
}

function server({ address }: BalancedServer, more = ''): string {
  return `server ${address} ${CHECKS}${more};`
}

function cookieMap(plan: BalancerPlan, variable: string, fallback: string, value: string): string {
  return `    map $http_cookie ${variable} {
        default ${fallback};
        "~(?:^|;)\\s*${plan.routeCookie}=${value}" $holdfast_found;
    }`
}

/** Two labels at most: further backups are found by a fetch. */
function mappedGroups(plan: BalancerPlan): string {
  const { servers } = plan
  const names = '(?<holdfast_found>[A-Za-z0-9_-]+(?:\\.[A-Za-z0-9_-]+)?)'
  const ownerOnly = '(?<holdfast_owner_found>[A-Za-z0-9_-]+)'
  const pairs = servers.length <= PAIRS_MAX
  const entries: [string, string][] = []
  const blocks: string[] = []
  for (const owner of servers) {
    const others = servers.filter((one) => one !== owner)
    entries.push([owner.name, `holdfast_${owner.name}`])
    blocks.push(group(`holdfast_${owner.name}`, [server(owner), ...others.map((one) => server(one, ' backup'))]))
    for (const backup of pairs ? others : []) {
      entries.push([`${owner.name}.${backup.name}`, `holdfast_${owner.name}.${backup.name}`])
      const rest = others.filter((one) => one !== backup)
      const lines = [server(owner), server(backup, ' backup weight=10000'), ...rest.map((one) => server(one, ' backup'))]
      blocks.push(group(`holdfast_${owner.name}.${backup.name}`, lines))
    }
  }
  return [
    `    # The route cookie is "owner.backup", by the names of the servers: affinity({ transport, route: nameRoute }).
    # Unknown, forged and missing ones lead to holdfast_any: the session is fetched from its holder.`,
    pairs
      ? cookieMap(plan, '$holdfast_route', '""', names)
      : cookieMap(plan, '$holdfast_route', '""', ownerOnly).replace('$holdfast_found;', '$holdfast_owner_found;'),
    `    map $holdfast_route $holdfast_group {
        default holdfast_any;
${entries.map(([route, name]) => `        ${route} ${name};\n`).join('')}    }`,
    '    # Visitors without a route take turns: so sessions spread evenly.',
    group('holdfast_any', ['zone holdfast_any 256k;', ...servers.map((one) => server(one))]),
    pairs
      ? '    # The owner; where it fails the backup, which has a copy; where that fails too any other.'
      : '    # The owner; where it fails any other, which fetches the session from the backup.',
    ...blocks,
  ].join('\n\n')
}

function stickyGroup(plan: BalancerPlan): string {
  return [
    `    # nginx 1.29.6 and later. The route cookie is "owner.backup": affinity({ transport, route: nameRoute }). While the owner is down,
    # any other takes its place, and fetches the session from the backup.`,
    cookieMap(plan, '$holdfast_owner', '""', '(?<holdfast_found>[A-Za-z0-9_-]+)'),
    group('holdfast', [
      'zone holdfast 256k;',
      ...plan.servers.map((one) => server(one, ` route=${one.name}`)),
      'sticky route $holdfast_owner;',
    ]),
  ].join('\n\n')
}

function hashGroup(plan: BalancerPlan): string {
  const ring = plan.servers.map(({ address, name }) => `${JSON.stringify(name)}: '${address}'`).join(', ')
  return [
    `    # The route cookie is a number that stays with the session, and its hash names the server:
    # affinity({ transport, route: slotRoute, placement: nginxRing({ ${ring} }) })
    # Backups then sit where nginx goes when a server is down. Strangers are spread at random.`,
    cookieMap(plan, '$holdfast_slot', '$request_id', '(?<holdfast_found>[0-9]{1,5})(?:;|\\s|$)'),
    group('holdfast', ['hash $holdfast_slot consistent;', ...plan.servers.map((one) => server(one))]),
  ].join('\n\n')
}
