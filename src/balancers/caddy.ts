/** A Caddyfile for affinity and for plain balancing. */
import { SessionError } from '../errors.ts'
import { type BalancerOptions, type BalancerPlan, planOf } from './options.ts'

export function caddyConfig(options: BalancerOptions): string {
  const plan = planOf(options)
  return `# Caddy in front of ${plan.servers.length} servers: ${plan.policy}. Made by: holdfast balancer caddy
# A host name in place of the port makes Caddy fetch a certificate for it.
${note(plan)}:${plan.port} {
${plan.host === undefined ? '' : `	bind ${plan.host}\n`}	reverse_proxy ${plan.servers.map(({ address }) => address).join(' ')} {
		lb_policy ${policyOf(plan)}
		# A server that cannot be reached is passed over at once, and for two seconds. Caddy sends GET again, other requests only if nothing was sent.
		lb_try_duration 3s
		lb_try_interval 50ms
		fail_duration 2s
		max_fails 1
${plan.health === undefined ? '' : `		health_uri ${plan.health}\n		health_interval 1s\n		health_timeout 1s\n`}		flush_interval -1
		transport http {
			dial_timeout 1s
		}
	}
}
`
}

function note({ policy, servers }: BalancerPlan): string {
  if (policy !== 'affinity') return ''
  const dials = servers.map(({ address, name }) => `${JSON.stringify(name)}: '${address}'`).join(', ')
  return `# The route cookie is an HMAC of the server's address under HOLDFAST_ROUTE_SECRET, which Caddy and the servers need in their environment:
# affinity({ transport, route: caddyRoute({ ${dials} }, process.env.HOLDFAST_ROUTE_SECRET) })
# Caddy knows one server per visitor: after its death any other fetches the session from the backup.
`
}

function policyOf({ policy, routeCookie }: BalancerPlan): string {
  switch (policy) {
    case 'affinity':
      return `cookie ${routeCookie} "{$HOLDFAST_ROUTE_SECRET}"`
    case 'hash':
      throw new SessionError('CONFIG_INVALID', 'balancer: Caddy cannot hash a cookie: use --policy affinity, or another balancer.')
    case 'least-connections':
      return 'least_conn'
    case 'round-robin':
      return 'round_robin'
  }
}
