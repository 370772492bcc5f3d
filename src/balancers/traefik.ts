/** Traefik's dynamic configuration (file provider) for affinity and for plain balancing. */
import { SessionError } from '../errors.ts'
import { type BalancerOptions, type BalancerPlan, planOf } from './options.ts'

export function traefikConfig(options: BalancerOptions): string {
  const plan = planOf(options)
  if (plan.policy === 'hash' || plan.policy === 'least-connections') {
    throw new SessionError(
      'CONFIG_INVALID',
      'balancer: Traefik has neither of these policies in all its versions: use affinity or round-robin.',
    )
  }
  return `# Traefik in front of ${plan.servers.length} servers: ${plan.policy}. Made by: holdfast balancer traefik
# The dynamic configuration. The static one beside it:
#   entryPoints: { web: { address: "${plan.host ?? ''}:${plan.port}" } }
#   providers: { file: { filename: /etc/traefik/holdfast.yaml } }
${note(plan)}http:
  routers:
    holdfast:
      entryPoints: [web]
      rule: "PathPrefix(\`/\`)"
      middlewares: [holdfast-retry]
      service: holdfast
  middlewares:
    # Requests that no server has answered at all are sent again, to another one.
    holdfast-retry:
      retry: { attempts: 2, initialInterval: 50ms }
  serversTransports:
    holdfast:
      forwardingTimeouts: { dialTimeout: 1s }
  services:
    holdfast:
      loadBalancer:
        serversTransport: holdfast
        passHostHeader: true
${sticky(plan)}${health(plan)}        servers:
${plan.servers.map(({ address }) => `          - url: "http://${address}"`).join('\n')}
`
}

function note({ policy, servers }: BalancerPlan): string {
  if (policy !== 'affinity') return ''
  const urls = servers.map(({ address, name }) => `${JSON.stringify(name)}: 'http://${address}'`).join(', ')
  return `# The route cookie is a hash of the server's URL: affinity({ transport, route: traefikRoute({ ${urls} }) })
# Traefik knows one server per visitor: after its death any other fetches the session from the backup.
`
}

function sticky({ policy, routeCookie }: BalancerPlan): string {
  if (policy !== 'affinity') return ''
  const isSecure = routeCookie.startsWith('__')
  return `        sticky:
          cookie: { name: "${routeCookie}", httpOnly: true, secure: ${isSecure}, sameSite: lax }
`
}

function health({ health: path }: BalancerPlan): string {
  if (path === undefined) return '        # Give --health PATH: without checks Traefik goes on asking a dead server.\n'
  return `        healthCheck: { path: "${path}", interval: 1s, timeout: 1s }\n`
}
