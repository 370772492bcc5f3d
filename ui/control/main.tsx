import { render } from 'preact'
import { ClusterPicture } from './cluster-picture.tsx'
import { EventLog } from './event-log.tsx'
import { cluster, connected, problem, watch } from './lab.ts'
import { Planner } from './planner.tsx'
import { Servers } from './servers.tsx'
import { StrategySwitch } from './strategy-switch.tsx'
import { followSessions } from './sessions.ts'
import { Totals } from './totals.tsx'
import { TourButton, TourPanel } from './tour-panel.tsx'
import { readTraffic, TrafficControl } from './traffic.tsx'
import { Whereabouts } from './whereabouts.tsx'

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
        {view !== undefined && <TourButton />}
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
          <>
            <TourPanel />
            <Totals view={view} />
            <div class="grid">
              <div class="column">
                <StrategySwitch view={view} />
                <ClusterPicture view={view} />
                <Servers view={view} />
              </div>
              <div class="column side">
                <Whereabouts />
                <TrafficControl />
                <EventLog />
              </div>
            </div>
            <Planner />
          </>
        )}
      </main>
    </>
  )
}

render(<Control />, document.querySelector('#app') as Element)
watch()
followSessions()
void readTraffic()
