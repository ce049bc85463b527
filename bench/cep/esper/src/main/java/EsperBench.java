// The work of bench_cep done by Esper 9, on the same events: EsperBench FILE REPEATS WORK:EVENTS...
// FILE holds for each event, little-endian: int64 time in ms, int32 device, int32 1 for stream B, double value.
// Prints for each work "WORK<tab>timed events<tab>seconds<tab>rows<tab>sum<tab>p99 in us", the best of REPEATS runs in
// one process, so that all but the first run compiled code. Seconds are processor time of the thread that sends; what
// the JVM does on other threads (compiling, collecting garbage) is not charged. Events are objects before the clock
// starts. Of the work `live` the first tenth is not timed, and one run more takes the time of each event.

import com.espertech.esper.common.client.EPCompiled;
import com.espertech.esper.common.client.EventBean;
import com.espertech.esper.common.client.EventPropertyGetter;
import com.espertech.esper.common.client.EventSender;
import com.espertech.esper.common.client.configuration.Configuration;
import com.espertech.esper.compiler.client.CompilerArguments;
import com.espertech.esper.compiler.client.EPCompilerProvider;
import com.espertech.esper.runtime.client.DeploymentOptions;
import com.espertech.esper.runtime.client.EPEventService;
import com.espertech.esper.runtime.client.EPRuntime;
import com.espertech.esper.runtime.client.EPRuntimeProvider;
import com.espertech.esper.runtime.client.EPStatement;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

public final class EsperBench {
  // What a work's statements are; several ways to write it, of which the fastest counts. `?` statements are deployed
  // once for each threshold.
  private record Work(List<String> ways, boolean twoStreams, int thresholds, double firstThreshold, double step) {}

  private static final Map<String, Work> WORKS =
      Map.of(
          "filter", new Work(List.of("select dev, v from A(v > 90)"), false, 0, 0, 0),
          "sum", new Work(List.of("select dev, sum(v) as v from A group by dev"), false, 0, 0, 0),
          "tumble",
          new Work(
              List.of(
                  "select dev, avg(v) as v from A#ext_timed_batch(ts, 1 sec, 0L) group by dev having count(*) > 0"),
              false, 0, 0, 0),
          "pattern",
          new Work(
              List.of(
                  "create context ByDevice partition by dev from A, dev from B;\n"
                      + "context ByDevice select a.dev as dev, a.v as v from pattern"
                      + " [every a=A -> (B where timer:within(5 sec))]",
                  "select a.dev as dev, a.v as v from pattern [every a=A -> (B(dev = a.dev) where timer:within(5 sec))]"),
              true, 0, 0, 0),
          "thresholds", new Work(List.of("select dev, v from A(v > ?:x:double)"), false, 1000, 97.5, 0.0025),
          "live", new Work(List.of("select dev, v from A(v > ?:x:double)"), false, 100, 99, 0.01));

  private static final class Events {
    final long[] t;
    final boolean[] isB;
    final Object[][] rows;

    Events(Path file) throws IOException {
      try (FileChannel channel = FileChannel.open(file)) {
        ByteBuffer bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size());
        bytes.order(ByteOrder.LITTLE_ENDIAN);
        int count = (int) (channel.size() / 24);
        t = new long[count];
        isB = new boolean[count];
        rows = new Object[count][];
        String[] names = new String[1 << 20];
        for (int i = 0; i < count; ++i) {
          t[i] = bytes.getLong();
          int device = bytes.getInt();
          isB[i] = bytes.getInt() != 0;
          if (names[device] == null) {
            names[device] = "device-" + device;
          }
          rows[i] = new Object[] {names[device], bytes.getDouble(), t[i]};
        }
      }
    }
  }

  private static final class Answer {
    long rows;
    double sum;
    double seconds = Double.MAX_VALUE;
    double p99Us;
  }

  private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

  private static Answer run(Work work, String way, Events events, int count, int untimed, boolean oneByOne)
      throws Exception {
    Configuration configuration = new Configuration();
    configuration.getRuntime().getThreading().setInternalTimerEnabled(false);
    configuration.getCompiler().getByteCode().setAllowSubscriber(false);
    EPRuntime runtime = EPRuntimeProvider.getRuntime("bench", configuration);
    runtime.initialize();
    EPEventService service = runtime.getEventService();
    service.advanceTime(0);
    CompilerArguments arguments = new CompilerArguments(configuration);
    String schema =
        "@public @buseventtype create objectarray schema A(dev string, v double, ts long);\n"
            + "@public @buseventtype create objectarray schema B(dev string, v double, ts long);\n";
    EPCompiled streams = EPCompilerProvider.getCompiler().compile(schema, arguments);
    runtime.getDeploymentService().deploy(streams);
    arguments.getPath().add(streams);
    EPCompiled compiled = EPCompilerProvider.getCompiler().compile(way, arguments);
    Answer answer = new Answer();
    for (int i = 0; i < Math.max(work.thresholds, 1); ++i) {
      DeploymentOptions options = new DeploymentOptions();
      if (work.thresholds > 0) {
        double threshold = work.firstThreshold + i * work.step;
        options.setStatementSubstitutionParameter(context -> context.setObject("x", threshold));
      }
      EPStatement[] statements = runtime.getDeploymentService().deploy(compiled, options).getStatements();
      EPStatement last = statements[statements.length - 1];
      EventPropertyGetter value = last.getEventType().getGetter("v");
      last.addListener(
          (added, removed, statement, from) -> {
            if (added != null) {
              for (EventBean row : added) {
                ++answer.rows;
                answer.sum += (Double) value.get(row);
              }
            }
          });
    }
    EventSender toA = service.getEventSender("A");  // faster than by the stream's name
    EventSender toB = service.getEventSender("B");
    long[] each = new long[oneByOne ? count : 0];
    long began = THREADS.getCurrentThreadCpuTime();
    long now = 0;
    for (int i = 0; i < count; ++i) {
      if (i == untimed) {
        began = THREADS.getCurrentThreadCpuTime();
      }
      long before = oneByOne ? System.nanoTime() : 0;
      if (events.t[i] != now) {
        now = events.t[i];
        service.advanceTime(now);
      }
      (work.twoStreams && events.isB[i] ? toB : toA).sendEvent(events.rows[i]);
      if (oneByOne) {
        each[i] = System.nanoTime() - before;
      }
    }
    answer.seconds = (THREADS.getCurrentThreadCpuTime() - began) / 1e9;
    if (oneByOne) {
      Arrays.sort(each, untimed, count);
      answer.p99Us = each[count - 1 - (count - untimed) / 100] / 1e3;
    }
    runtime.destroy();
    return answer;
  }

  public static void main(String[] args) throws Exception {
    Events events = new Events(Path.of(args[0]));
    int repeats = Integer.parseInt(args[1]);
    for (int i = 2; i < args.length; ++i) {
      String name = args[i].substring(0, args[i].indexOf(':'));
      int count = Integer.parseInt(args[i].substring(name.length() + 1));
      Work work = WORKS.get(name);
      int untimed = name.equals("live") ? count / 10 : 0;
      Answer best = new Answer();
      for (String way : work.ways) {
        for (int repeat = 0; repeat < repeats; ++repeat) {
          Answer answer = run(work, way, events, count, untimed, false);
          best = answer.seconds < best.seconds ? answer : best;
        }
      }
      double p99Us = untimed > 0 ? run(work, work.ways.get(0), events, count, untimed, true).p99Us : 0;
      System.out.printf(
          "%s\t%d\t%.6f\t%d\t%.9e\t%.2f%n", name, count - untimed, best.seconds, best.rows, best.sum, p99Us);
    }
  }
}
