import { type ClusterView, setStrategy, working } from './lab.ts'
import { STRATEGIES } from './strategies.ts'

export function StrategySwitch({ view }: { view: ClusterView }) {
  const current = STRATEGIES.find((strategy) => strategy.id === view.strategy)
  const busy = view.switching || working.value.has('PUT /api/strategy')
  return (
    <section class="panel block strategy" aria-label="Strategy">
      <h2>Where does the session live?</h2>
      <div class="segments" role="group" aria-label="Strategy">
        {STRATEGIES.map(({ id, name }) => (
          <button
            type="button"
            key={id}
            aria-pressed={id === view.strategy}
            disabled={busy}
            data-strategy={id}
            onClick={() => void setStrategy(id)}
          >
            {name}
          </button>
        ))}
      </div>
      {current !== undefined && (
        <p class="explain">
          {current.where} <span class="plus">{current.strength}</span> <span class="minus">{current.weakness}</span>
        </p>
      )}
      {view.notProtected.length > 0 && (
        <details class="small soft">
          <summary>What this does not protect</summary>
          <ul>
            {view.notProtected.map((line) => (
              <li key={line}>{line}</li>
            ))}
          </ul>
        </details>
      )}
    </section>
  )
}
