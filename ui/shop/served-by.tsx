import { serverColour } from '../shared/server-colour.ts'
import { busy, served } from './session.ts'

export function ServedBy() {
  return (
    <section class="panel block served-by" aria-label="Who answered">
      <h2>
        Who answered <span class="soft small">{busy.value > 0 ? 'asking…' : 'newest first'}</span>
      </h2>
      <ol class="served" data-newest={served.value[0]?.node ?? ''}>
        {served.value.map(({ serial, node, ok }) => (
          <li key={serial} class={`chip ${serverColour(node)} ${ok ? '' : 'failed'}`}>
            {node}
            {!ok && <span class="hidden"> failed</span>}
          </li>
        ))}
      </ol>
    </section>
  )
}
