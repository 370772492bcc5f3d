/** envoy.yaml for affinity and for plain balancing. */
import { type BalancerOptions, type BalancerPlan, planOf } from './options.ts'

export function envoyConfig(options: BalancerOptions): string {
  const plan = planOf(options)
  const isAddress = plan.servers.every(({ host }) => /^[\d.]+$|^\[/.test(host))
  return `# Envoy in front of ${plan.servers.length} servers: ${plan.policy}. Made by: holdfast balancer envoy
${stickiness(plan)}static_resources:
  listeners:
    - name: holdfast
      address:
        socket_address: { address: ${JSON.stringify(plan.host ?? '0.0.0.0')}, port_value: ${plan.port} }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: holdfast
                # What a client claims to have been forwarded for is dropped.
                use_remote_address: true
                request_headers_timeout: 10s
                stream_idle_timeout: 60s
                upgrade_configs: [{ upgrade_type: websocket }]
                route_config:
                  virtual_hosts:
                    - name: holdfast
                      domains: ["*"]
                      routes:
                        - match: { prefix: "/" }
                          route:
                            cluster: holdfast
                            timeout: 60s
${hashPolicy(plan)}                            # Only what no server has begun to handle is sent again.
                            retry_policy:
                              retry_on: connect-failure,refused-stream
                              num_retries: 2
                              retry_host_predicate:
                                - name: envoy.retry_host_predicates.previous_hosts
                                  typed_config:
                                    "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
                              host_selection_retry_max_attempts: 3
                http_filters:
${sessionFilter(plan)}                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
    - name: holdfast
      type: ${isAddress ? 'STATIC' : 'STRICT_DNS'}
      connect_timeout: 1s
      lb_policy: ${lbPolicy(plan)}
${commonPolicy(plan)}      outlier_detection: { consecutive_5xx: 0, consecutive_local_origin_failure: 1, split_external_local_origin_errors: true, interval: 1s, base_ejection_time: 2s, max_ejection_percent: 100 }
      health_checks:
        - timeout: 1s
          interval: 0.5s
          unhealthy_threshold: 1
          healthy_threshold: 2
${plan.health === undefined ? '          tcp_health_check: {}' : `          http_health_check: { path: ${JSON.stringify(plan.health)} }`}
      load_assignment:
        cluster_name: holdfast
        endpoints:
          - lb_endpoints:
${plan.servers.map(({ host, port }) => `              - endpoint: { address: { socket_address: { address: ${JSON.stringify(host.replaceAll(/[[\]]/g, ''))}, port_value: ${port} } } }`).join('\n')}
`
}

function stickiness({ policy, servers }: BalancerPlan): string {
  if (policy === 'hash')
    return '# The number in the route cookie is hashed (maglev): affinity({ transport, route: slotRoute }). A server that lacks a session fetches it.\n'
  if (policy !== 'affinity') return ''
  const addresses = servers.map(({ address, name }) => `${JSON.stringify(name)}: '${address}'`).join(', ')
  return `# The route cookie is base64 of the server's ip:port: affinity({ transport, route: envoyRoute({ ${addresses} }) })
# Servers have to be IP addresses for that. Envoy knows one server per visitor: after its death any other fetches the session from the backup.
`
}

function sessionFilter({ policy, routeCookie }: BalancerPlan): string {
  if (policy !== 'affinity') return ''
  return `                  - name: envoy.filters.http.stateful_session
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession
                      session_state:
                        name: envoy.http.stateful_session.cookie
                        typed_config:
                          "@type": type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState
                          cookie: { name: ${JSON.stringify(routeCookie)}, path: "/" }
`
}

function hashPolicy({ policy, routeCookie }: BalancerPlan): string {
  if (policy !== 'hash') return ''
  return `                            hash_policy: [{ cookie: { name: ${JSON.stringify(routeCookie)} } }]\n`
}

function lbPolicy({ policy }: BalancerPlan): string {
  if (policy === 'hash') return 'MAGLEV  # ring_hash moves more visitors when a server comes or goes'
  return policy === 'round-robin' ? 'ROUND_ROBIN' : 'LEAST_REQUEST'
}

/** Without DRAINING a server that leaves loses its visitors before it has handed their sessions over. */
function commonPolicy({ policy }: BalancerPlan): string {
  return policy === 'affinity'
    ? '      common_lb_config: { override_host_status: { statuses: [HEALTHY, UNKNOWN, DEGRADED, DRAINING] } }\n'
    : ''
}
