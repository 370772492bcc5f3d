import { serverColour } from '../shared/server-colour.ts'
import { bytes } from './format.ts'
import { history } from './history.ts'
import { act, addNode, type ClusterNode, type ClusterView, type NodeAction, removeNode, working } from './lab.ts'
import { Sparkline } from './sparkline.tsx'

interface Choice {
  action: NodeAction
  name: string
  help: string
  danger?: boolean
}
const KILL: Choice = { action: 'kill', name: 'Kill', help: 'SIGKILL: no warning, no farewell', danger: true }
const START: Choice = { action: 'start', name: 'Start', help: 'Start it again' }
const PAUSE: Choice = { action: 'pause', name: 'Pause', help: 'SIGSTOP: it hangs, connections stay open' }
const RESUME: Choice = { action: 'resume', name: 'Resume', help: 'SIGCONT: it goes on where it was' }
const DRAIN: Choice = { action: 'drain', name: 'Drain', help: 'No new visitors; hands its sessions over' }

const CHOICES: Record<ClusterNode['state'], Choice[]> = {
  up: [KILL, PAUSE, DRAIN],
  joining: [KILL],
  paused: [KILL, RESUME],
  draining: [KILL, PAUSE],
  down: [START],
}

export function Servers({ view }: { view: ClusterView }) {
  const adding = working.value.has('POST /api/nodes')
  return (
    <section class="servers" aria-label="Servers">
      {view.nodes.map((node) => (
        <Server key={node.id} node={node} switching={view.switching} />
      ))}
      <button type="button" class="add" disabled={adding || view.switching} onClick={() => void addNode()}>
        {adding ? 'Starting a server…' : '+ Add a server'}
      </button>
    </section>
  )
}

function Server({ node, switching }: { node: ClusterNode; switching: boolean }) {
  const busy = switching || [...working.value].some((name) => name.includes(`/api/nodes/${node.id}`))
  return (
    <article class={`panel server-card ${node.state}`} data-node={node.id} data-state={node.state}>
      <h3>
        <a
          class={`chip ${serverColour(node.id)}`}
          href={node.url}
          target="_blank"
          rel="noreferrer"
          title="Open this server without the gateway"
        >
          {node.id}
        </a>
        <span class={`state ${node.state}`}>{node.state}</span>
        <span class="soft small pid">{node.pid === null ? '' : `pid ${node.pid}`}</span>
      </h3>
      <Figures node={node} />
      <div class="row">
        {CHOICES[node.state].map(({ action, name, help, danger }) => (
          <button
            type="button"
            key={action}
            class={danger === true ? 'danger' : ''}
            disabled={busy && action !== 'kill'}
            title={help}
            aria-label={`${name} ${node.id}`}
            onClick={() => void act(node.id, action)}
          >
            {name}
          </button>
        ))}
        <button
          type="button"
          disabled={busy}
          title="Drain it and take it away"
          aria-label={`Remove ${node.id}`}
          onClick={() => void removeNode(node.id)}
        >
          Remove
        </button>
      </div>
    </article>
  )
}

function Figures({ node }: { node: ClusterNode }) {
  const series = history.value.get(node.id)
  const rate = series?.bytesPerSecond.at(-1) ?? 0
  return (
    <dl class={serverColour(node.id)}>
      <div>
        <dt>Sessions</dt>
        <dd class="spark-cell">{series !== undefined && <Sparkline values={series.sessions} from="zero" />}</dd>
        <dd>{node.sessions}</dd>
      </div>
      <div>
        <dt>Memory</dt>
        <dd class="spark-cell">{series !== undefined && <Sparkline values={series.rssBytes} from="lowest" />}</dd>
        <dd>{node.rssBytes === 0 ? '–' : bytes(node.rssBytes)}</dd>
      </div>
      <div title={`Sent ${bytes(node.sentBytes)}, received ${bytes(node.receivedBytes)} between servers since the start`}>
        <dt>Exchange</dt>
        <dd class="spark-cell">{series !== undefined && <Sparkline values={series.bytesPerSecond} from="zero" />}</dd>
        <dd>{bytes(rate)}/s</dd>
      </div>
    </dl>
  )
}
