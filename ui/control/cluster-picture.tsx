import { useEffect, useRef } from 'preact/hooks'
import { serverColour } from '../shared/server-colour.ts'
import { createFlow, type Flow, pathOf } from './flow.ts'
import { moved } from './history.ts'
import type { ClusterNode, ClusterView } from './lab.ts'
import { GATEWAY_Y, type Layout, layoutOf, RADIUS, SERVER_Y, STORE_Y, VISITORS_Y } from './picture-layout.ts'
import { located } from './sessions.ts'

const isRunning = (node: ClusterNode | undefined): boolean => node?.state === 'up' || node?.state === 'draining'

/** Who talks to whom: visitors, gateway, servers, store, and where the chosen session is. */
export function ClusterPicture({ view }: { view: ClusterView }) {
  const { nodes, strategy } = view
  const hasStore = strategy === 'dedicated'
  const layout = layoutOf(nodes.length, hasStore)
  const group = useRef<SVGGElement>(null)
  const flow = useRef<Flow | undefined>(undefined)
  useEffect(() => {
    if (group.current !== null) flow.current = createFlow(group.current)
    return () => flow.current?.stop()
  }, [])
  const motion = moved.value
  useEffect(() => {
    const index = new Map(nodes.map(({ id }, at) => [id, at]))
    let all = 0
    for (const [id, count] of motion.requests) {
      const at = index.get(id)
      all += count
      if (at === undefined) continue
      flow.current?.send(layout.toServer(at), count, 'request')
      if (hasStore) flow.current?.send(layout.toStore(at), count, 'store')
    }
    flow.current?.send(layout.toGateway, all, 'request')
    for (const { from, to, count } of motion.copies) {
      const [start, end] = [index.get(from), index.get(to)]
      if (start !== undefined && end !== undefined) flow.current?.send(layout.between(start, end), count, 'copy')
    }
  }, [motion])
  return (
    <section class="panel block picture-panel" aria-label="Cluster">
      <svg class="cluster" viewBox={`0 0 ${layout.width} ${layout.height}`} role="img" aria-label={describe(view)}>
        <Lines view={view} layout={layout} />
        <g ref={group} />
        <People layout={layout} inJar={strategy === 'cookieBased'} />
        <g class="gateway">
          <rect x={layout.middle - 100} y={GATEWAY_Y - 22} width="200" height="42" rx="12" />
          <text x={layout.middle} y={GATEWAY_Y - 4}>
            gateway
          </text>
          <text class="fine" x={layout.middle} y={GATEWAY_Y + 12}>
            {view.gateway.policy} · {Math.round(motion.perSecond)} requests/s
          </text>
        </g>
        {hasStore && <Store layout={layout} />}
        {nodes.map((node, index) => (
          <Server key={node.id} node={node} x={layout.xOf(index)} view={view} />
        ))}
      </svg>
      <p class="legend small soft">
        <span class="dot-key request" /> requests
        {(strategy === 'replication' || strategy === 'affinity') && (
          <>
            <span class="dot-key copy" /> copies of sessions
          </>
        )}
        {hasStore && (
          <>
            <span class="dot-key store" /> reads and writes at the store
          </>
        )}
      </p>
    </section>
  )
}

function Lines({ view, layout }: { view: ClusterView; layout: Layout }) {
  const { nodes, strategy } = view
  const meshed = strategy === 'replication' || strategy === 'affinity'
  return (
    <g>
      <path class="link up" d={pathOf(layout.toGateway)} />
      {nodes.map((node, index) => (
        <path key={node.id} class={`link ${node.state}`} d={pathOf(layout.toServer(index))} />
      ))}
      {meshed &&
        nodes
          .slice(1)
          .map((node, index) => (
            <path
              key={node.id}
              class={`mesh ${isRunning(node) && isRunning(nodes[index]) ? '' : 'broken'}`}
              d={pathOf(layout.between(index, index + 1))}
            />
          ))}
      {strategy === 'dedicated' &&
        nodes.map((node, index) => (isRunning(node) ? <path key={node.id} class="mesh" d={pathOf(layout.toStore(index))} /> : null))}
    </g>
  )
}

function People({ layout, inJar }: { layout: Layout; inJar: boolean }) {
  const { middle } = layout
  const here = located.value?.inJar === true
  return (
    <g class="people">
      {[-28, 0, 28].map((offset) => (
        <g key={offset}>
          <circle cx={middle + offset} cy={VISITORS_Y - 12} r="6" />
          <path d={`M${middle + offset - 10} ${VISITORS_Y + 10}a10 11 0 0 1 20 0z`} />
        </g>
      ))}
      <text class="fine end" x={middle - 48} y={VISITORS_Y + 2}>
        visitors
      </text>
      {inJar && (
        <g class="cookie">
          <circle cx={middle + 62} cy={VISITORS_Y - 3} r="14" />
          {[
            [-5, -4],
            [5, -2],
            [-1, 6],
          ].map(([x = 0, y = 0]) => (
            <circle key={x} class="crumb" cx={middle + 62 + x} cy={VISITORS_Y - 3 + y} r="2.2" />
          ))}
          <text class="fine start" x={middle + 82} y={VISITORS_Y + 1}>
            sessions, sealed
          </text>
        </g>
      )}
      {here && <Badge x={middle + 122} y={VISITORS_Y + 24} text="it is here" />}
    </g>
  )
}

function Store({ layout: { middle } }: { layout: Layout }) {
  return (
    <g class="store">
      <path d={`M${middle - 44} ${STORE_Y - 14}v26c0 16 88 16 88 0v-26`} />
      <ellipse cx={middle} cy={STORE_Y - 14} rx="44" ry="10" />
      <text x={middle} y={STORE_Y + 13}>
        store
      </text>
      {located.value?.inStore === true && <Badge x={middle + 92} y={STORE_Y + 2} text="it is here" />}
    </g>
  )
}

function Server({ node, x, view }: { node: ClusterNode; x: number; view: ClusterView }) {
  // Where the sessions live elsewhere, a count on the server would say nothing.
  const counted = view.strategy !== 'dedicated' && view.strategy !== 'cookieBased'
  const most = Math.max(1, ...view.nodes.map((other) => other.sessions))
  const holder = located.value?.holders.find((one) => one.node === node.id)
  return (
    <g class={`server ${node.state} ${serverColour(node.id)}`}>
      <circle class="halo" cx={x} cy={SERVER_Y} r={RADIUS + 2 + (counted ? 12 * (node.sessions / most) : 0)} />
      <circle class="body" cx={x} cy={SERVER_Y} r={RADIUS} />
      <text x={x} y={SERVER_Y - 2}>
        {node.id}
      </text>
      <text class="fine" x={x} y={SERVER_Y + 14}>
        {node.state === 'up' && counted ? node.sessions : node.state}
      </text>
      {holder !== undefined && <Badge x={x} y={SERVER_Y + 54} text={holder.role} />}
      {located.value?.silent.includes(node.id) === true && <Badge x={x} y={SERVER_Y + 54} text="silent" />}
    </g>
  )
}

function Badge({ x, y, text }: { x: number; y: number; text: string }) {
  const width = 20 + text.length * 7.4
  return (
    <g class="badge">
      <rect x={x - width / 2} y={y - 12} width={width} height="24" rx="12" />
      <text class="fine" x={x} y={y + 4.5}>
        {text}
      </text>
    </g>
  )
}

function describe(view: ClusterView): string {
  const servers = view.nodes.map((node) => `${node.id} ${node.state}, ${node.sessions} sessions`).join('; ')
  return `Visitors, then a gateway with ${view.gateway.policy}, then ${view.nodes.length} servers: ${servers}`
}
