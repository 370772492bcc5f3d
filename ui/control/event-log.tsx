import { serverColour } from '../shared/server-colour.ts'
import { clock } from './format.ts'
import { log } from './lab.ts'

const SHOWN = 80
const BAD = new Set(['lost', 'regressed', 'degraded', 'conflict', 'invalid', 'lateWrite'])

export function EventLog() {
  return (
    <section class="panel block events" aria-label="Events">
      <h2>What happens</h2>
      {log.value.length === 0 && <p class="soft small">Nothing yet. Send visitors, then kill a server.</p>}
      <ol tabIndex={0} aria-label="Events, newest first">
        {log.value.slice(0, SHOWN).map((line) => (
          <li key={line.serial} class={BAD.has(line.type) ? 'bad' : ''}>
            <time class="mono soft">{clock(line.at)}</time>
            {line.node === '' ? <span /> : <span class={`chip ${serverColour(line.node)}`}>{line.node}</span>}
            <span>
              <b>{line.type}</b> {line.text}
            </span>
          </li>
        ))}
      </ol>
    </section>
  )
}
