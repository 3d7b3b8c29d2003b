# The line protocol of both oracles: one JSON request a line on standard input, one JSON answer a line on standard output, until the input ends.
# Whatever a request does to the standard streams, or by `exit`, stays out of the answers.

require 'json'

module Protocol
  # Yields each request; answers with what the block gives back.
  def self.serve
    requests = $stdin.dup
    answers = $stdout.dup
    requests.set_encoding(Encoding::UTF_8)
    answers.set_encoding(Encoding::UTF_8)
    requests.each_line do |line|
      quiet
      request = JSON.parse(line)
      answers.write(JSON.generate(yield(request)), "\n")
      answers.flush
    end
  end

  # Opened once: JRuby never closes the file that a stream was pointed at by its name before, and ends when it has too many.
  NOTHING_TO_READ = File.open(File::NULL, 'r')
  NOTHING_IS_WRITTEN = File.open(File::NULL, 'w')

  # Points the three standard streams at nothing, again before each request, because the one before may have changed them.
  def self.quiet
    $stdin = STDIN
    $stdout = STDOUT
    $stderr = STDERR
    STDIN.reopen(NOTHING_TO_READ)
    STDOUT.reopen(NOTHING_IS_WRITTEN)
    STDERR.reopen(NOTHING_IS_WRITTEN)
  end

  # An exception as text that JSON can hold.
  def self.explain(error)
    message = error.message.to_s.dup.force_encoding(Encoding::UTF_8).scrub('?')
    "#{error.class}: #{message[0, 300]}"
  end
end
