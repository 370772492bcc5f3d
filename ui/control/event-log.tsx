import { serverColour } from '../shared/server-colour.ts'
import { clock } from './format.ts'
import { log } from './lab.ts'
import { choose } from './sessions.ts'

const SHOWN = 80

export function EventLog() {
  return (
    <section class="panel block events" aria-label="Events">
      <h2>What happens</h2>
      {log.value.length === 0 && <p class="soft small">Nothing yet. Send visitors, then kill a server.</p>}
      <ol tabIndex={0} aria-label="Events, newest first">
        {log.value.slice(0, SHOWN).map(({ serial, at, node, isBad, key, text }) => (
          <li key={serial} class={isBad ? 'bad' : ''}>
            <time class="mono soft">{clock(at)}</time>
            {node === '' ? <span /> : <span class={`chip ${serverColour(node)}`}>{node}</span>}
            <span>
              {key !== undefined && (
                <button
                  type="button"
                  class="link mono"
                  title="Show where it lives"
                  aria-label={`Show where session ${key.slice(0, 8)} lives`}
                  onClick={() => choose(key)}
                >
                  {key.slice(0, 8)}
                </button>
              )}{' '}
              {text}
            </span>
          </li>
        ))}
      </ol>
    </section>
  )
}
