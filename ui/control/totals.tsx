import { type ClusterView, sendVisitors, working } from './lab.ts'

const CROWD = 20

export function Totals({ view }: { view: ClusterView }) {
  const { lost, sessions, failed, lostUpdates, stale } = view.totals
  return (
    <section class="panel block totals" aria-label="Totals">
      <div class={`lost ${lost > 0 ? 'bad' : 'good'}`} data-lost={lost}>
        <b>{lost}</b>
        <span>{lost === 1 ? 'session lost' : 'sessions lost'}</span>
      </div>
      <dl>
        <Figure name="Sessions" value={sessions} help="Live sessions that this cluster made" />
        <Figure name="Updates lost" value={lostUpdates} bad help="Changes that were confirmed to a visitor and are gone" />
        <Figure name="Stale reads" value={stale} bad help="Answers older than what the visitor had seen before" />
        <Figure name="Failed requests" value={failed} bad help="Answers of 500 and above" />
      </dl>
      <button type="button" disabled={view.switching || working.value.has('POST /api/visitors')} onClick={() => void sendVisitors(CROWD)}>
        Send {CROWD} visitors
      </button>
    </section>
  )
}

function Figure({ name, value, help, bad = false }: { name: string; value: number; help: string; bad?: boolean }) {
  return (
    <div class={bad && value > 0 ? 'figure bad' : 'figure'} title={help} data-figure={name}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}
