import { serverColour } from '../shared/server-colour.ts'
import type { ClusterNode, ClusterView } from './lab.ts'

const STEP = 165
const NARROWEST = 460
const GATEWAY_Y = 52
const SERVER_Y = 168
const STORE_Y = 264
const MARGIN = 90

/** Who talks to whom: visitors, gateway, servers, and where the sessions are. */
export function ClusterPicture({ view }: { view: ClusterView }) {
  const { nodes, strategy } = view
  const step = nodes.length > 6 ? STEP / 2 : STEP
  const span = step * Math.max(0, nodes.length - 1)
  const width = Math.max(NARROWEST, span + MARGIN)
  const middle = width / 2
  const places = nodes.map((node, index) => ({ node, x: middle - span / 2 + index * step }))
  // Where the sessions live elsewhere, a count on the server would say nothing.
  const counted = meshedOrOwn(strategy)
  const most = Math.max(1, ...nodes.map((node) => node.sessions))
  const meshed = strategy === 'replication' || strategy === 'affinity'
  const running = (node: ClusterNode): boolean => node.state === 'up' || node.state === 'draining'
  return (
    <section class="panel block picture-panel" aria-label="Cluster">
      <svg class="cluster" viewBox={`0 0 ${width} ${strategy === 'dedicated' ? 300 : 236}`} role="img" aria-label={describe(view)}>
        {places.map(({ node, x }) => (
          <path key={node.id} class={`link ${node.state}`} d={`M${middle} ${GATEWAY_Y + 18}C${middle} 110 ${x} 95 ${x} ${SERVER_Y - 32}`} />
        ))}
        {meshed &&
          places
            .slice(1)
            .map(({ node, x }, index) => (
              <path
                key={node.id}
                class={`mesh ${running(node) && running(nodes[index] as ClusterNode) ? '' : 'broken'}`}
                d={`M${x - step + 32} ${SERVER_Y}H${x - 32}`}
              />
            ))}
        {strategy === 'dedicated' && (
          <>
            {places
              .filter(({ node }) => running(node))
              .map(({ node, x }) => (
                <path key={node.id} class="mesh" d={`M${x} ${SERVER_Y + 32}C${x} 225 ${middle} 215 ${middle} ${STORE_Y - 20}`} />
              ))}
            <g class="store">
              <path d={`M${middle - 44} ${STORE_Y - 14}v26c0 16 88 16 88 0v-26`} />
              <ellipse cx={middle} cy={STORE_Y - 14} rx="44" ry="10" />
              <text x={middle} y={STORE_Y + 13}>
                store
              </text>
            </g>
          </>
        )}
        <g class="gateway">
          <rect x={middle - 92} y={GATEWAY_Y - 22} width="184" height="42" rx="12" />
          <text x={middle} y={GATEWAY_Y - 4}>
            gateway
          </text>
          <text class="fine" x={middle} y={GATEWAY_Y + 12}>
            {view.gateway.policy}
          </text>
        </g>
        {strategy === 'cookieBased' && (
          <g class="cookie">
            <circle cx={middle + 128} cy={GATEWAY_Y - 2} r="17" />
            <circle class="crumb" cx={middle + 122} cy={GATEWAY_Y - 6} r="2.5" />
            <circle class="crumb" cx={middle + 134} cy={GATEWAY_Y - 3} r="2.5" />
            <circle class="crumb" cx={middle + 126} cy={GATEWAY_Y + 5} r="2.5" />
            <text class="fine start" x={middle + 152} y={GATEWAY_Y + 3}>
              sessions
            </text>
          </g>
        )}
        {places.map(({ node, x }) => (
          <g key={node.id} class={`server ${node.state} ${serverColour(node.id)}`}>
            <circle class="halo" cx={x} cy={SERVER_Y} r={32 + 12 * (node.sessions / most)} />
            <circle class="body" cx={x} cy={SERVER_Y} r="30" />
            <text x={x} y={SERVER_Y - 2}>
              {node.id}
            </text>
            <text class="fine" x={x} y={SERVER_Y + 14}>
              {node.state === 'up' && counted ? node.sessions : node.state}
            </text>
          </g>
        ))}
      </svg>
    </section>
  )
}

function meshedOrOwn(strategy: string): boolean {
  return strategy !== 'dedicated' && strategy !== 'cookieBased'
}

function describe(view: ClusterView): string {
  const servers = view.nodes.map((node) => `${node.id} ${node.state}, ${node.sessions} sessions`).join('; ')
  return `Gateway with ${view.gateway.policy} before ${view.nodes.length} servers: ${servers}`
}
