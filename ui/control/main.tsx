import { render } from 'preact'
import { ClusterPicture } from './cluster-picture.tsx'
import { EventLog } from './event-log.tsx'
import { cluster, connected, problem, watch } from './lab.ts'
import { Servers } from './servers.tsx'
import { StrategySwitch } from './strategy-switch.tsx'
import { Totals } from './totals.tsx'

function Control() {
  const view = cluster.value
  return (
    <>
      <header class="top">
        <h1>
          Holdfast <span>lab</span>
        </h1>
        <p class="soft small status" aria-live="polite">
          {connected.value ? (view?.switching === true ? 'the cluster is restarting…' : 'live') : 'connecting…'}
        </p>
        {view !== undefined && (
          <a class="button primary" href={view.gateway.url} target="_blank" rel="noreferrer">
            Open the shop
          </a>
        )}
      </header>
      <main>
        {problem.value !== undefined && (
          <p class="problem" role="alert">
            {problem.value}{' '}
            <button type="button" onClick={() => (problem.value = undefined)}>
              Close
            </button>
          </p>
        )}
        {view !== undefined && (
          <div class="grid">
            <StrategySwitch view={view} />
            <Totals view={view} />
            <ClusterPicture view={view} />
            <Servers view={view} />
            <EventLog />
          </div>
        )}
      </main>
    </>
  )
}

render(<Control />, document.querySelector('#app') as Element)
watch()
