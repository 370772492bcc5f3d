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
        <Figure name="Sessions" value={sessions} />
        <Figure name="Failed requests" value={failed} bad />
        <Figure name="Lost updates" value={lostUpdates} bad />
        <Figure name="Stale reads" value={stale} bad />
      </dl>
      <button type="button" disabled={view.switching || working.value.has('POST /api/visitors')} onClick={() => void sendVisitors(CROWD)}>
        Send {CROWD} visitors
      </button>
    </section>
  )
}

function Figure({ name, value, bad = false }: { name: string; value: number; bad?: boolean }) {
  return (
    <div class={bad && value > 0 ? 'figure bad' : 'figure'}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}
